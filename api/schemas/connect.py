"""Connect sessions, and what end users send to connect an account."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.schemas.base import Answer, Body
from api.schemas.connections import EndUser, Organization
from api.schemas.tags import Tags
from api.schemas.webhooks import WebhookUrl

__all__ = [
    "ConnectedAccount",
    "NewReconnectSession",
    "NewSession",
    "SessionAnswer",
    "SessionCreated",
    "SessionDetail",
    "SessionDetailAnswer",
]

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Texts = dict[str, str]


class IntegrationDefaults(BaseModel):
    """What the application says for an integration.

    Attributes:
        user_scopes: Scopes of the person, where the provider knows such.
        authorization_params: Added to the address of the consent page.
        connection_config: Parameters of the connection, which its user is not asked for then.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    user_scopes: str | None = None
    authorization_params: Texts | None = None
    connection_config: dict[str, Any] | None = None


class Override(BaseModel):
    """What is shown differently for an integration."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    docs_connect: str | None = None


class _Details(Body):
    integrations_config_defaults: dict[str, IntegrationDefaults] | None = None
    overrides: dict[str, Override] | None = None
    organization: Organization | None = None
    webhook_url_override: WebhookUrl | None = None
    tags: Tags | None = None

    def details(self) -> dict[str, Any]:
        """Return what is kept of it."""
        kept = self.model_dump(
            exclude_none=True, exclude={"organization", "connection_id", "integration_id"}
        )
        end_user = kept.get("end_user")
        if end_user is not None and self.organization is not None:
            end_user["organization"] = self.organization.model_dump(exclude_none=True)
        return kept


class NewSession(_Details):
    """A session to make. Who it is for stands in `end_user` or in `tags`.

    Attributes:
        allowed_integrations: Only accounts of these can be connected; all if it is left out.
    """

    end_user: EndUser | None = None
    allowed_integrations: list[Name] | None = None

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Self:
        if self.end_user is None and self.tags is None:
            msg = "say who it is for: `end_user` or `tags`"
            raise ValueError(msg)
        return self


class NewReconnectSession(_Details):
    """A session in which a connection is given new credentials."""

    connection_id: Annotated[str, StringConstraints(min_length=1)]
    integration_id: Annotated[str, StringConstraints(min_length=1)]
    end_user: EndUser | None = None


class SessionCreated(Answer):
    """A session that was made.

    Attributes:
        token: What opens it; it is not shown again.
        connect_link: Page where the end user connects an account.
        expires_at: When it ends.
    """

    token: str = Field(repr=False)
    connect_link: str = Field(repr=False)
    expires_at: datetime


class SessionAnswer(Answer):
    """A session that was made."""

    data: SessionCreated


class SessionDetail(Answer):
    """A session as its end user sees it."""

    allowed_integrations: list[str] | None = None
    integrations_config_defaults: dict[str, Any] | None = None
    overrides: dict[str, Any] | None = None
    endUser: dict[str, Any] | None = None
    tags: dict[str, str] | None = None
    isReconnecting: bool = False
    connectUISettings: dict[str, Any] = {}
    expires_at: datetime


class SessionDetailAnswer(Answer):
    """A session as its end user sees it."""

    data: SessionDetail


class ConnectedAccount(Answer):
    """An account that was connected."""

    connectionId: str
    providerConfigKey: str
