"""Ends the rows of runs that could not do so themselves.

A run that was ended by force (somebody, or the maintenance, terminated it) never came to write how.
Whoever finds it settles it: the row ends, its locks are released, what is to be told of it is
written, and its turn is passed on, as if the run had done so.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError

from activities.action_turns import let_in
from activities.bundles import BundleCache
from activities.executions import execution_of, outcome_of
from activities.outcomes import Outcome
from activities.overdue_runs import OverdueRuns
from activities.run_counts import count_end
from activities.webhook_outbox import WebhookOutbox
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.runs import Run, RunStatus
from perdure.errors import NotFoundError, PerdureError
from perdure.ids import BundleHash
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import RunContext

__all__ = ["RunSettling"]

_RPC_TIMEOUT = timedelta(seconds=10)


log = structlog.get_logger(__name__)


class RunSettling:
    """Settles runs, from inside a step.

    Args:
        database: Our own data.
        bundles: What was deployed when the run began.
        client: Says how runs stand.
        overdue: Ends those that could not end in time themselves; None where that is not wanted.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        client: Client,
        overdue: OverdueRuns | None = None,
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._client = client
        self._overdue = overdue
        self._outbox = WebhookOutbox(database)

    async def settle(self, run: Run) -> RunStatus | None:
        """End a run's row if the run has ended.

        Returns:
            How it ended, None where it is under way.

        Raises:
            RPCError: Temporal does not answer.
        """
        found = await execution_of(self._client, run, _RPC_TIMEOUT)
        if found is not None and await self._was_overdue(run, found):
            found = await execution_of(self._client, run, _RPC_TIMEOUT)
        if found is None:
            error = {"type": "run_lost", "message": "Temporal does not know this run any more."}
            outcome: Outcome | None = Outcome(RunStatus.FAILED, error)
        else:
            outcome = await outcome_of(self._client, found, _RPC_TIMEOUT)
        if outcome is None:
            return None
        ended_at = (found and found.close_time) or utcnow()
        execution = found.run_id if found and found.run_id else run.id
        passes_on = False
        async with self._database.transaction() as conn:
            end = await self._database.runs.finish(
                run.id, outcome.status, finished_at=ended_at, error=outcome.error, conn=conn
            )
            if end:
                await self._database.runs.moved(run.id, execution, conn=conn)
                await self._database.locks.release_all(run.id, conn=conn)
                # The maintenance sends what nobody sent. A step settles many runs.
                step = f"settled/{run.id}/{execution}"
                match run.kind:
                    case WorkflowType.SYNC:
                        await self._tell_of_sync(run, step, conn)
                    case WorkflowType.ACTION:
                        passes_on = await self._leave_queue(run, step, conn)
        count_end(end)
        if passes_on:
            await let_in(self._database, self._client, run.environment_id)
        return outcome.status

    async def _was_overdue(self, run: Run, found: WorkflowExecutionDescription) -> bool:
        """End a run that cannot end itself; one that cannot be looked at keeps no other waiting."""
        if self._overdue is None:
            return False
        try:
            return await self._overdue.end(run, found)
        except (RPCError, PerdureError, ValueError) as error:
            log.warning("overdue_run_not_looked_at", run_id=run.id, error=str(error))
            return False

    async def _tell_of_sync(self, run: Run, step: str, conn: DbConnection) -> None:
        if run.dry_run:
            return
        context = await self._context(run)
        if context is not None:
            ended = await self._database.runs.get(run.environment_id, run.id, conn=conn)
            await self._outbox.sync_ended(context, ended, step=step, conn=conn)

    async def _leave_queue(self, run: Run, step: str, conn: DbConnection) -> bool:
        """Give up an action's turn and write that it ended, where nobody waited for it."""
        queue = self._database.action_queue
        if not await queue.has_place(run.workflow_id, conn=conn):
            return False
        await queue.leave(run.environment_id, [run.workflow_id], conn=conn)
        await self._outbox.action_ended(run, step=step, conn=conn)
        return True

    async def _context(self, run: Run) -> RunContext | None:
        if run.bundle_hash is None or run.integration is None or run.connection_key is None:
            return None
        try:
            config = await self._bundles.config(BundleHash(run.bundle_hash))
            connection = await self._database.connections.by_key(run.connection_key)
            environment = await self._database.environments.by_id(run.environment_id)
        except NotFoundError:
            return None
        integration = config.integration(run.integration)
        declared = integration.sync(run.script) if integration else None
        if declared is None:
            return None
        return RunContext(
            run_id=run.id,
            workflow_id=run.workflow_id,
            started_at=run.started_at,
            environment=environment.name,
            environment_id=run.environment_id,
            integration=run.integration,
            provider=connection.provider,
            connection_id=connection.connection_id,
            connection_key=run.connection_key,
            kind=run.kind,
            script=run.script,
            variant=run.variant,
            bundle=run.bundle_hash,
            models=declared.output,
            full=declared.sync_type == "full",
        )
