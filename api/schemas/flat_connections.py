"""Connections as older clients make them: what an account authenticates with stands in the body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from api.schemas.base import ConnectionId
from perdure.errors import FieldError, InvalidInputError
from perdure.providers.provider import AuthMode

__all__ = ["FlatConnection"]

_FIELDS: Mapping[AuthMode, tuple[str, ...]] = {
    AuthMode.API_KEY: ("api_key",),
    AuthMode.APP: ("installation_id",),
    AuthMode.BASIC: ("username",),
    AuthMode.NONE: (),
    AuthMode.OAUTH1: ("oauth_token", "oauth_token_secret"),
    AuthMode.OAUTH2: ("access_token",),
    AuthMode.OAUTH2_CC: ("client_id", "client_secret"),
    AuthMode.SIGNATURE: ("username", "password"),
    AuthMode.TBA: ("token_id", "token_secret"),
}
"""What has to be there, by how the provider authenticates."""

_FURTHER: Mapping[AuthMode, tuple[str, ...]] = {
    AuthMode.APP: ("app_id",),
    AuthMode.BASIC: ("password",),
    AuthMode.OAUTH2: ("refresh_token",),
}
"""What may be there."""

_OVERRIDABLE = (AuthMode.OAUTH2, AuthMode.TBA)


class FlatConnection(BaseModel):
    """A connection to make; which fields count follows from the provider.

    Attributes:
        expires_at: When `access_token` ends.
        expires_in: The same in seconds from now.
        no_expiration: Whether it does not; one of the three has to be said.
        oauth_client_id_override: The client that the tokens belong to, with its secret.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    provider_config_key: str
    connection_id: ConnectionId | None = None
    metadata: dict[str, Any] | None = None
    connection_config: dict[str, Any] | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_at: datetime | None = None
    expires_in: Annotated[int | None, Field(ge=1, le=10**9)] = None
    no_expiration: bool = False
    oauth_client_id_override: str | None = None
    oauth_client_secret_override: str | None = None
    oauth_token: str | None = None
    oauth_token_secret: str | None = None
    username: str | None = None
    password: str | None = None
    api_key: str | None = Field(None, validation_alias=AliasChoices("api_key", "apiKey"))
    client_id: str | None = None
    client_secret: str | None = None
    token_id: str | None = None
    token_secret: str | None = None
    installation_id: str | int | None = None
    app_id: str | int | None = None

    def credentials(self, auth_mode: AuthMode, now: datetime) -> dict[str, Any]:
        """Return what the account authenticates with.

        Args:
            auth_mode: Of the provider.
            now: From when `expires_in` counts.

        Raises:
            InvalidInputError: With the fields that are missing.
        """
        needed = _FIELDS.get(auth_mode)
        if needed is None:
            msg = f"Accounts of type {auth_mode} are imported with POST /connections."
            raise InvalidInputError(msg)
        missing = [name for name in needed if not getattr(self, name)]
        if auth_mode is AuthMode.OAUTH2 and not self._says_when_it_ends:
            missing.append("expires_at")
        if missing:
            raise InvalidInputError(
                f"The body lacks {', '.join(missing)}.",
                errors=[FieldError("missing", "Field required", (name,)) for name in missing],
            )
        given = {name: getattr(self, name) for name in (*needed, *_FURTHER.get(auth_mode, ()))}
        found = {name: value for name, value in given.items() if value is not None}
        if auth_mode is AuthMode.OAUTH2:
            found["expires_at"] = self._end(now)
        if auth_mode in _OVERRIDABLE and self.oauth_client_id_override:
            found["config_override"] = {
                "client_id": self.oauth_client_id_override,
                "client_secret": self.oauth_client_secret_override,
            }
        return {"type": auth_mode, **found}

    @property
    def _says_when_it_ends(self) -> bool:
        return self.no_expiration or self.expires_at is not None or self.expires_in is not None

    def _end(self, now: datetime) -> datetime | None:
        if self.no_expiration:
            return None
        if self.expires_at is None and self.expires_in is not None:
            return now + timedelta(seconds=self.expires_in)
        return self.expires_at
