"""The connection as scripts see it."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.connections import ConnectionActivities
    from workflows.nango.steps import HelperSteps

__all__ = ["ConnectionSteps"]


class ConnectionSteps(HelperSteps):
    """`get_connection` and `get_metadata`."""

    async def get_connection(
        self, provider_config_key: str | None = None, connection_id: str | None = None
    ) -> dict[str, Any]:
        """See base class."""
        ref = self._ref_of(provider_config_key, connection_id)
        view = await self._lookup(
            ConnectionActivities.get_connection, ref, f"connection {ref.connection_id}"
        )
        self.secrets.learn({k: v for k, v in view.credentials.items() if k != "type"})
        return dict(view.connection, credentials=view.credentials)

    async def get_metadata(self) -> dict[str, Any]:
        """See base class."""
        ref = self._ref_of(None, None)
        found = await self._lookup(
            ConnectionActivities.get_metadata, ref, f"metadata of {ref.connection_id}"
        )
        return dict(found.metadata)
