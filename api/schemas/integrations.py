"""Integrations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import JsonValue, StringConstraints

from api.schemas.base import Answer, Body, IntegrationKey
from perdure.db.integrations import Integration

__all__ = [
    "IntegrationAnswer",
    "IntegrationChange",
    "IntegrationDetail",
    "IntegrationDetailAnswer",
    "IntegrationList",
    "IntegrationView",
    "NewIntegration",
]

Secret = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4096)]


class IntegrationCredentials(Body):
    """What is set of an integration's credentials; null removes, what is left out stays.

    Attributes:
        webhook_secret: What its webhooks are signed with.
    """

    webhook_secret: Secret | None = None


class NewIntegration(Body):
    """An integration to make.

    Attributes:
        forward_webhooks: Whether what the provider sends is handed on to the application.
        webhook_rules: What takes the place of the provider's rules for webhooks.
    """

    provider: str
    unique_key: IntegrationKey
    display_name: str | None = None
    credentials: IntegrationCredentials | None = None
    forward_webhooks: bool = False
    webhook_rules: dict[str, JsonValue] | None = None


class IntegrationChange(Body):
    """What is to change of an integration; what is left out stays."""

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
