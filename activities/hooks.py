"""Scripts that run on the events of a connection, and what their runs are started with."""

from __future__ import annotations

from activities.bundles import BundleCache
from activities.runs import log_level_of
from config.project import Event
from config.scripts import named_scripts
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import EventInput, HistoryLimits, RunContext

__all__ = ["Hooks"]


class Hooks:
    """Finds the scripts of events in what is deployed.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        history: How long the history of a run may get.
        limit: Seconds that a script may take.
    """

    def __init__(
        self, database: Database, bundles: BundleCache, history: HistoryLimits, limit: float
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._history = history
        self._limit = limit

    async def of(
        self, environment: Environment, connection: Connection, *events: Event
    ) -> dict[Event, list[EventInput]]:
        """Return the runs that follow from events, in order, pinned to the active bundle.

        Args:
            environment: Of the connection.
            connection: To which something happens.
            *events: What.
        """
        found: dict[Event, list[EventInput]] = {event: [] for event in events}
        bundle = environment.active_bundle
        if bundle is None:
            return found
        integration = (await self._bundles.config(bundle)).integration(connection.integration)
        if integration is None:
            return found
        context = RunContext(
            run_id="",
            workflow_id="",
            started_at=utcnow(),
            environment=environment.name,
            environment_id=environment.id,
            integration=connection.integration,
            provider=connection.provider,
            connection_id=connection.connection_id,
            connection_key=connection.key,
            kind=WorkflowType.ON_EVENT,
            script="",
            bundle=bundle,
            validation=environment.validation,
            log_level=await log_level_of(self._database, environment.id),
            history=self._history,
            credentials_version=connection.credentials_version,
        )
        for script in named_scripts(integration):
            if script.event in found:
                found[script.event].append(
                    EventInput(
                        context=context.model_copy(update={"script": script.name}),
                        event=script.event,
                        limit=self._limit,
                        older=script.is_older,
                    )
                )
        return found
