"""Connections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.schemas.base import Answer, Body, ConnectionId
from api.schemas.tags import Tags
from api.schemas.webhooks import WebhookUrl
from perdure.connections.refreshing import RefreshFailure
from perdure.db.connections import Connection

__all__ = [
    "ConnectionChange",
    "ConnectionDetail",
    "ConnectionList",
    "ConnectionSummary",
    "NewConnection",
    "NewMetadata",
]


ConnectionName = Annotated[str, StringConstraints(min_length=1)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
_Text = Annotated[str, StringConstraints(max_length=255)]


class Organization(BaseModel):
    """To what an end user belongs."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    id: _Name
    display_name: _Text | None = None


class EndUser(BaseModel):
    """Whom a connection belongs to."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    id: _Name
    email: _Text | None = None
    display_name: _Text | None = None
    organization: Organization | None = None


class NewConnection(Body):
    """A connection to make, or to give new credentials.

    What is left out of a connection that exists stays as it is.
    """

    provider_config_key: str
    connection_id: ConnectionId | None = None
    credentials: dict[str, Any] = Field(
        description="`type`, which has to be the `auth_mode` of the provider, and its fields."
    )
    metadata: dict[str, Any] | None = None
    connection_config: dict[str, Any] | None = None
    tags: Tags | None = None
    end_user: EndUser | None = None
    webhook_url_override: WebhookUrl | None = None


class ConnectionChange(Body):
    """What is to change of a connection; what is left out stays.

    A `webhook_url_override` that is null is removed: webhooks go to the environment's URLs again.
    """

    end_user: EndUser | None = None
    tags: Tags | None = None
    webhook_url_override: WebhookUrl | None = None


class NewMetadata(Body):
    """Metadata for one connection or for several of an integration: for all of them or for none."""

    connection_id: ConnectionName | Annotated[list[ConnectionName], Field(min_length=1)]
    provider_config_key: Annotated[str, StringConstraints(min_length=1)]
    metadata: dict[str, Any]

    @property
    def connection_ids(self) -> list[str]:
        """The connections by name."""
        return [self.connection_id] if isinstance(self.connection_id, str) else self.connection_id


class ConnectionFault(Answer):
    """What is wrong with a connection: its credentials were refused, or a sync's last run failed.

    It goes when that succeeds.
    """

    type: Literal["auth", "sync"]
    log_id: str = Field(
        description=(
            "Id of the run that says more. Where credentials could not be refreshed and no run "
            "needed them, what the log of our processes calls the failure."
        )
    )


def _faults(connection: Connection, failed_syncs: Sequence[str]) -> list[ConnectionFault]:
    """Return what is wrong with a connection.

    Args:
        connection: The connection.
        failed_syncs: Last runs of its syncs, where those have failed.
    """
    refused = connection.auth_error_run_id or _failed_refresh(connection)
    found = [ConnectionFault(type="auth", log_id=refused)] if refused else []
    return found + [ConnectionFault(type="sync", log_id=run_id) for run_id in failed_syncs]


def _failed_refresh(connection: Connection) -> str | None:
    if connection.refresh_failure is None:
        return None
    failure = RefreshFailure.from_json(connection.refresh_failure)
    return (failure.run_id or failure.id) if failure.is_fault else None


class ConnectionSummary(Answer):
    """A connection in a list."""

    id: int
    connection_id: str
    provider_config_key: str
    provider: str
    created: datetime
    metadata: dict[str, Any] | None
    errors: list[ConnectionFault]
    end_user: dict[str, Any] | None
    tags: dict[str, str]

    @classmethod
    def of(cls, connection: Connection, failed_syncs: Sequence[str]) -> ConnectionSummary:
        """Show a connection in a list."""
        return cls(
            id=connection.key,
            connection_id=connection.connection_id,
            provider_config_key=connection.integration,
            provider=connection.provider,
            created=connection.created_at,
            metadata=connection.metadata,
            errors=_faults(connection, failed_syncs),
            end_user=connection.end_user,
            tags=connection.tags,
        )


class ConnectionList(Answer):
    """Connections, newest first."""

    connections: list[ConnectionSummary]


class ConnectionDetail(Answer):
    """A connection with its credentials, readable."""

    id: int
    connection_id: str
    provider_config_key: str
    provider: str
    created_at: datetime
    updated_at: datetime
    last_fetched_at: datetime | None
    metadata: dict[str, Any] | None
    connection_config: dict[str, Any]
    webhook_url_override: str | None
    errors: list[ConnectionFault]
    end_user: dict[str, Any] | None
    tags: dict[str, str]
    credentials: dict[str, Any] = Field(repr=False)

    @classmethod
    def of(
        cls,
        connection: Connection,
        credentials: dict[str, Any],
        failed_syncs: Sequence[str],
    ) -> ConnectionDetail:
        """Show a connection in full."""
        return cls(
            id=connection.key,
            connection_id=connection.connection_id,
            provider_config_key=connection.integration,
            provider=connection.provider,
            created_at=connection.created_at,
            updated_at=connection.updated_at,
            last_fetched_at=connection.last_fetched_at,
            metadata=connection.metadata,
            connection_config=connection.connection_config,
            webhook_url_override=connection.webhook_url_override,
            errors=_faults(connection, failed_syncs),
            end_user=connection.end_user,
            tags=connection.tags,
            credentials=credentials,
        )
