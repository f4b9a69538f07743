"""Environments, API keys and what was done with them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from api.schemas.base import Answer, Body
from api.scopes import EVERYTHING, is_scope
from perdure.db.api_keys import ApiKey
from perdure.db.audit import AuditEvent
from perdure.db.environments import Environment

__all__ = [
    "ApiKeyList",
    "ApiKeyView",
    "AuditEventView",
    "AuditList",
    "EnvironmentList",
    "EnvironmentSummary",
    "MadeEnvironment",
    "NewApiKey",
    "NewEnvironment",
    "ShownApiKey",
]


def _known(scope: str) -> str:
    if scope != EVERYTHING and not is_scope(scope):
        msg = "is no scope; docs/keys.md lists them"
        raise ValueError(msg)
    return scope


Scope = Annotated[str, StringConstraints(max_length=100), AfterValidator(_known)]
"""What a key may do."""

EnvironmentName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$")
]
"""Name of a new environment: letters, digits, underscores and dashes."""


class NewApiKey(Body):
    """A key to make.

    Attributes:
        name: For people, and to find it again.
        scopes: What it may do, no more than the key that makes it.
        expires_at: From when on it opens nothing; left out, it opens until it is revoked.
    """

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
    scopes: list[Scope] = Field(min_length=1, max_length=100)
    expires_at: AwareDatetime | None = None


class ApiKeyView(Answer):
    """A key, without the key itself."""

    id: UUID
    name: str
    ending: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> ApiKeyView:
        """Show a key."""
        return cls.model_validate(key, from_attributes=True)


class ShownApiKey(ApiKeyView):
    """A new key with the key itself, which is shown this once."""

    api_key: str = Field(repr=False)

    @classmethod
    def with_key(cls, key: ApiKey, api_key: str) -> ShownApiKey:
        """Show a new key."""
        return cls(**ApiKeyView.of(key).model_dump(), api_key=api_key)


class ApiKeyList(Answer):
    """Keys, newest first."""

    data: list[ApiKeyView]


class NewEnvironment(Body):
    """An environment to make."""

    name: EnvironmentName


class EnvironmentSummary(Answer):
    """An environment in a list."""

    name: str
    uuid: UUID
    created_at: datetime

    @classmethod
    def of(cls, environment: Environment) -> EnvironmentSummary:
        """Show an environment."""
        return cls.model_validate(environment, from_attributes=True)


class MadeEnvironment(EnvironmentSummary):
    """A new environment with its first key, which may do everything in it."""

    key: ShownApiKey


class EnvironmentList(Answer):
    """Environments, oldest first."""

    data: list[EnvironmentSummary]


class AuditEventView(Answer):
    """One administrative act.

    Attributes:
        key_id: The API key it was done with, null for the secret key of the environment.
        status: Status of the answer, null where the process died before it knew.
    """

    id: int
    at: datetime
    environment: str
    key_id: UUID | None
    key_name: str
    act: str
    subject: str
    request_id: str
    status: int | None
    error: str | None

    @classmethod
    def of(cls, event: AuditEvent) -> AuditEventView:
        """Show an act."""
        return cls.model_validate(event, from_attributes=True)


class AuditList(Answer):
    """Acts, newest first."""

    data: list[AuditEventView]
    next_cursor: str | None
