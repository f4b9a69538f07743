"""Integrations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, JsonValue, StringConstraints

from api.schemas.base import Answer, Body, IntegrationKey
from perdure.connections.private_keys import as_pem
from perdure.db.integrations import Integration

__all__ = [
    "IntegrationAnswer",
    "IntegrationChange",
    "IntegrationDetail",
    "IntegrationDetailAnswer",
    "IntegrationList",
    "IntegrationView",
    "NewIntegration",
    "QuickstartIntegration",
]

Secret = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4096)]


Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4096)]
PrivateKey = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(as_pem)]


class IntegrationCredentials(Body):
    """What is set of an integration's credentials; null removes, what is left out stays.

    Attributes:
        type: How the provider authenticates, as a check of what was meant.
        client_id: Of the OAuth application, as its secret and the scopes to ask for.
        client_secret: See `client_id`.
        scopes: Separated by commas.
        app_id: Of the GitHub app, as its public page and its private key.
        app_link: See `app_id`.
        private_key: PEM, or PEM in base64.
        webhook_secret: What its webhooks are signed with.
    """

    type: Literal["OAUTH1", "OAUTH2", "OAUTH2_CC", "TBA", "APP", "CUSTOM"] | None = None
    client_id: Secret | None = None
    client_secret: Secret | None = None
    scopes: Text | None = None
    app_id: Secret | None = None
    app_link: Text | None = None
    private_key: PrivateKey | None = None
    webhook_secret: Secret | None = None


class NewIntegration(Body):
    """An integration to make.

    Attributes:
        forward_webhooks: Whether what the provider sends is handed on to the application.
        integration_config: Values that the provider's entry asks for once for all connections.
        custom: Kept as `integration_config` is.
        webhook_rules: What takes the place of the provider's rules for webhooks.
    """

    provider: str
    unique_key: IntegrationKey
    display_name: str | None = None
    credentials: IntegrationCredentials | None = None
    forward_webhooks: bool = False
    integration_config: dict[str, str] | None = None
    custom: dict[str, str] | None = None
    webhook_rules: dict[str, JsonValue] | None = None


class QuickstartIntegration(Body):
    """An integration to make with what the provider needs of its own: nothing."""

    provider: str
    unique_key: IntegrationKey | None = None
    display_name: str | None = None
    forward_webhooks: bool = False


class IntegrationChange(Body):
    """What is to change of an integration; what is left out stays.

    Attributes:
        unique_key: Its new key; it can be renamed while it has no connections.
    """

    unique_key: IntegrationKey | None = None
    integration_config: dict[str, str] | None = None
    custom: dict[str, str] | None = None
    display_name: Annotated[str, StringConstraints(min_length=1)] | None = None
    credentials: IntegrationCredentials | None = None
    forward_webhooks: bool | None = None
    webhook_rules: dict[str, JsonValue] | None = None


class IntegrationView(Answer):
    """An integration without its credentials."""

    unique_key: str
    provider: str
    display_name: str
    logo: str | None = None
    created_at: datetime
    updated_at: datetime
    forward_webhooks: bool = False

    @classmethod
    def of(cls, integration: Integration) -> IntegrationView:
        """Show an integration."""
        return cls.model_validate(integration, from_attributes=True)


class IntegrationDetail(IntegrationView):
    """An integration with what was asked for.

    Attributes:
        webhook_url: Where the provider sends its webhooks; None where the server does not know
            its own address. With `include=webhook`.
        webhook_rules: What takes the place of the provider's rules. With `include=webhook`.
        credentials: With `include=credentials`.
    """

    webhook_url: str | None = None
    webhook_rules: dict[str, Any] | None = None
    credentials: dict[str, Any] | None = None


class IntegrationAnswer(Answer):
    """One integration."""

    data: IntegrationView


class IntegrationDetailAnswer(Answer):
    """One integration with what was asked for."""

    data: IntegrationDetail


class IntegrationList(Answer):
    """All integrations of the environment."""

    data: list[IntegrationView]
