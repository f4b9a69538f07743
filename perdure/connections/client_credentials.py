"""What an integration itself authenticates with at its provider: its registered client or app."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from perdure.connections.credentials import (
    Credentials,
    OAuth2ClientCredentials,
    OAuth2Credentials,
    TbaCredentials,
)

__all__ = ["ClientCredentials", "client_of"]

_BETWEEN_SCOPES = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The client of an integration; what it does not have is empty.

    Attributes:
        client_id: Client id of OAuth, consumer key of OAuth 1.
        client_secret: Its secret.
        scopes: What is asked for, where nothing else is said.
        app_id: Id of an app.
        private_key: The app's key, or the client's where it signs who it is.
        app_link: Page on which the app is installed.
        config: Parameters of the integration, which templates name `${integrationConfig.<name>}`.
    """

    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ()
    app_id: str = ""
    private_key: str = field(default="", repr=False)
    app_link: str = ""
    config: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, stored: Mapping[str, Any] | None, config: Mapping[str, JsonValue] | None = None
    ) -> ClientCredentials:
        """Read an integration's credentials as the API takes them.

        Args:
            stored: The decrypted JSON object, None where the integration has none. `scopes` is a
                list, or text with commas or spaces between them.
            config: Parameters of the integration.
        """
        given = stored or {}
        scopes = given.get("scopes") or ()
        if isinstance(scopes, str):
            scopes = [scope for scope in _BETWEEN_SCOPES.split(scopes) if scope]
        return cls(
            client_id=_text(given, "client_id"),
            client_secret=_text(given, "client_secret"),
            scopes=tuple(str(scope) for scope in scopes),
            app_id=_text(given, "app_id"),
            private_key=_text(given, "private_key"),
            app_link=_text(given, "app_link"),
            config=config or {},
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not be shown."""
        return tuple(secret for secret in (self.client_secret, self.private_key) if secret)


def client_of(credentials: Credentials, client: ClientCredentials) -> ClientCredentials:
    """Return the client that credentials belong to.

    Args:
        credentials: May bring a client along, in whole or in part.
        client: That of the integration.
    """
    match credentials:
        case OAuth2ClientCredentials():
            key = credentials.client_private_key
            return replace(
                client,
                client_id=credentials.client_id,
                client_secret=credentials.client_secret.get_secret_value(),
                private_key=key.get_secret_value() if key else client.private_key,
            )
        case OAuth2Credentials() | TbaCredentials() if override := credentials.config_override:
            secret = override.client_secret
            return replace(
                client,
                client_id=override.client_id or client.client_id,
                client_secret=secret.get_secret_value() if secret else client.client_secret,
            )
        case _:
            return client


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    return "" if value is None else str(value).strip()
