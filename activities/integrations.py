"""Integrations and the environment's variables, as scripts ask for them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from temporalio import activity

from perdure.db.database import Database
from perdure.ids import EnvironmentId
from perdure.temporal.payloads import Payload

__all__ = [
    "EnvironmentRef",
    "EnvironmentVariables",
    "IntegrationActivities",
    "IntegrationRef",
    "IntegrationView",
    "webhook_url",
]


class EnvironmentRef(Payload):
    """Names an environment."""

    environment_id: int


class IntegrationRef(Payload):
    """Names an integration.

    Attributes:
        environment: Name of the environment.
        include: `webhook`, `credentials`, both or none.
    """

    environment: str
    environment_id: int
    integration: str
    include: tuple[str, ...] = ()


class IntegrationView(Payload):
    """An integration as scripts see it; encrypted where the credentials were asked for."""

    integration: dict[str, Any]

    def holds_secret(self) -> bool:
        """See base class."""
        return self.integration.get("credentials") is not None


class EnvironmentVariables(Payload):
    """All variables of an environment by name. They are encrypted wherever they travel."""

    variables: dict[str, str]

    def holds_secret(self) -> bool:
        """See base class."""
        return True


class IntegrationActivities:
    """Steps that read integrations and variables for scripts.

    Args:
        database: Our own data.
        server_url: Where providers reach the API, None where that is not known.
    """

    def __init__(self, database: Database, server_url: str | None) -> None:
        self._database = database
        self._server_url = server_url

    @activity.defn
    async def get_integration(self, ref: IntegrationRef) -> IntegrationView:
        """Return an integration.

        Raises:
            NotFoundError: `unknown_provider_config`.
        """
        store = self._database.integrations
        environment_id = EnvironmentId(ref.environment_id)
        found = await store.get(environment_id, ref.integration)
        integration: dict[str, Any] = {
            "unique_key": found.unique_key,
            "provider": found.provider,
            "display_name": found.display_name,
            "created_at": found.created_at,
            "updated_at": found.updated_at,
        }
        if "webhook" in ref.include:
            integration["webhook_url"] = webhook_url(
                self._server_url, ref.environment, ref.integration
            )
        if "credentials" in ref.include:
            integration["credentials"] = await store.credentials(environment_id, ref.integration)
        return IntegrationView(integration=integration)

    @activity.defn
    async def get_environment_variables(self, ref: EnvironmentRef) -> EnvironmentVariables:
        """Return the environment's variables."""
        return EnvironmentVariables(
            variables=await self._database.variables.all(EnvironmentId(ref.environment_id))
        )


def webhook_url(server_url: str | None, environment: str, integration: str) -> str | None:
    """Return where a provider sends its webhooks, None where the server's address is not known."""
    if server_url is None:
        return None
    path = f"{quote(environment, safe='')}/{quote(integration, safe='')}"
    return f"{server_url.rstrip('/')}/webhook/{path}"
