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
from perdure.ids import event_of_workflow
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

    async def once(
        self, environment: Environment, connection: Connection, event: Event
    ) -> list[EventInput]:
        """Return as `of` does what follows from an event that happens to a connection once.

        Scripts whose run has ended do not run again for a workflow that has to begin anew.
        """
        found = await self.of(environment, connection, event)
        if not found:
            return []
        ended = await self._database.runs.ended_of(connection.key, WorkflowType.ON_EVENT)
        done = {event_of_workflow(workflow_id) for workflow_id in ended}
        return [hook for hook in found if (event, hook.context.script) not in done]

    async def of(
        self, environment: Environment, connection: Connection, event: Event
    ) -> list[EventInput]:
        """Return the runs that follow from an event, in order, pinned to the active bundle.

        Args:
            environment: Of the connection.
            connection: To which something happens.
            event: What.
        """
        bundle = environment.active_bundle
        if bundle is None:
            return []
        integration = (await self._bundles.config(bundle)).integration(connection.integration)
        if integration is None:
            return []
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
        return [
            EventInput(
                context=context.model_copy(update={"script": script.name}),
                event=event,
                limit=self._limit,
                older=script.is_older,
            )
            for script in named_scripts(integration)
            if script.event == event
        ]
