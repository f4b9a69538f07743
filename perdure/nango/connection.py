"""What a script asks about its connection, its integration and its environment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Literal

from perdure.nango.values import EnvironmentVariable, Record

__all__ = ["ConnectionMethods"]


class ConnectionMethods(ABC):
    """The part of the helper that reads and changes what belongs to the connection."""

    @abstractmethod
    async def get_connection(
        self,
        provider_config_key: str | None = None,
        connection_id: str | None = None,
        *,
        force_refresh: bool = False,
        refresh_token: bool = False,
        refresh_github_app_jwt_token: bool = False,
    ) -> dict[str, Any]:
        """Return a connection with its credentials as they are now, by default the run's own.

        The result is encrypted in the run's history, and so is every later step that carries
        one of its secrets.

        Args:
            provider_config_key: Another integration than the script's own.
            connection_id: Another connection than the run's own.
            force_refresh: Refresh the credentials before, though they may be good. Those that
                are about to expire are refreshed in any case; those of a kind that does not
                expire stay as they are.
            refresh_token: Return the refresh token, too.
            refresh_github_app_jwt_token: Return with the credentials of an `APP` connection
                `jwtToken`, with which the app shows who it is; a fresh one with each call.

        Raises:
            HelperError: `unknown_connection` or `unknown_provider_config`; `invalid_credentials`,
                `connection_refresh_backoff` or `connection_refresh_exhausted` where the provider
                refuses to renew credentials that have ended.
        """

    @abstractmethod
    async def get_token(self) -> str | dict[str, Any]:
        """Return what the connection authenticates with, encrypted in the run's history.

        Returns:
            The access token for OAUTH2, `{"oAuthToken", "oAuthTokenSecret"}` for OAUTH1, the
            credentials with their `type` for everything else.

        Raises:
            HelperError: As `get_connection` where the credentials have ended.
        """

    @abstractmethod
    async def get_metadata(self) -> dict[str, Any]:
        """Return the connection's metadata as it is now, `{}` where it has none."""

    @abstractmethod
    async def set_metadata(self, metadata: Record) -> None:
        """Replace the connection's metadata.

        Args:
            metadata: A JSON object, as a mapping or a model.

        Raises:
            HelperError: `invalid_metadata`, it is no JSON object.
        """

    @abstractmethod
    async def update_metadata(self, metadata: Record) -> None:
        """Set single keys of the connection's metadata and leave the others.

        Args:
            metadata: The keys to set; their values are replaced, not merged.

        Raises:
            HelperError: `invalid_metadata`, it is no JSON object.
        """

    @abstractmethod
    async def get_integration(
        self, include: Collection[Literal["webhook", "credentials"]] = ()
    ) -> dict[str, Any]:
        """Return the integration of the script.

        Args:
            include: `webhook` adds `webhook_url`. `credentials` adds the integration's client
                credentials, None where it has none; the result is encrypted in the run's history
                then.

        Raises:
            HelperError: `invalid_options`, something else is to be included.
        """

    @abstractmethod
    async def get_webhook_url(self) -> str | None:
        """Return the URL for the provider's webhooks, None where the server does not know its own.

        The server knows it by its setting `PERDURE_SERVER_URL`.
        """

    @abstractmethod
    async def get_environment_variables(self) -> list[EnvironmentVariable]:
        """Return the variables of the environment by name, each as `{"name", "value"}`.

        They are encrypted in the run's history, and their values are masked in its log.
        """
