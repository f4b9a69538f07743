"""Ends runs whose time is over and that cannot end themselves.

A run ends itself when its `run_timeout` is over: what it has saved is written then. One whose
workflow tasks fail again and again, or are taken by no worker, never comes to that, and its
schedule waits for it. Temporal knows since when such a run stands still; how long it may take
stands in the bundle that it was started with. Nothing is ended that a worker still carries on,
however late it is, nor before workers have been there for a while: they come first. All moments
are those of Temporal's clock.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.bundles import BundleCache
from activities.outcomes import OVERDUE
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.runs import Run
from perdure.errors import NotFoundError
from perdure.ids import BundleHash
from perdure.temporal.names import SearchAttribute, WorkflowType

__all__ = ["OverdueRuns", "is_to_be_ended"]

_PATIENCE = timedelta(minutes=15)
_TOLD_AGAIN = timedelta(days=1)
_RPC_TIMEOUT = timedelta(seconds=10)
_EVENTS_AT_ONCE = 50
_REMEMBERED_SECONDS = 60.0

log = structlog.get_logger(__name__)


def is_to_be_ended(
    now: datetime,
    *,
    over_at: datetime | None,
    stands_since: datetime,
    here_since: datetime,
    patience: timedelta,
) -> bool:
    """Say whether a run that stands still is ended by force.

    Args:
        now: The present.
        over_at: When its time was over; None where it has no limit, or its time has not begun.
        stands_since: Since when no worker has carried it on.
        here_since: Since when there are workers that could.
        patience: How long all three must be past.
    """
    return over_at is not None and now - max(over_at, stands_since, here_since) >= patience


class OverdueRuns:
    """Ends overdue runs that stand still, and tells of others that do; made when a worker starts.

    Args:
        database: Our own data.
        bundles: Say how long runs may take.
        client: Knows which runs stand still.
        here_since: Tells since when there have been workers without a pause, given the present.
        patience: How long a run must be over its time, and stand still, and a worker be there. A
            run that may not be ended is told of in the log once it stands four times as long.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        client: Client,
        here_since: Callable[[datetime], Awaitable[datetime]],
        patience: timedelta = _PATIENCE,
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._client = client
        self._patience = patience
        self._asked_here_since = here_since
        self._here_since = datetime.max.replace(tzinfo=UTC)
        self._here_asked_at = -_REMEMBERED_SECONDS
        self._told: dict[str, datetime] = {}

    async def end(self, run: Run, found: WorkflowExecutionDescription) -> bool:
        """End a run if its time is long over and it stands still.

        Args:
            run: The run.
            found: Its last execution.

        Returns:
            Whether it was ended. Its row is the caller's to settle.

        Raises:
            RPCError: Temporal does not answer.
        """
        now = _now()
        if not _may_stand(found, now, self._patience):
            return False
        here_since = await self._workers_since(now)
        since = await self._stands_since(run, found)
        if since is None or now - max(since, here_since) < self._patience:
            return False
        if is_to_be_ended(
            now,
            over_at=await self._over_at(run, found),
            stands_since=since,
            here_since=here_since,
            patience=self._patience,
        ):
            return await self._terminate(run, found, since)
        if now - max(since, here_since) >= 4 * self._patience:
            self._tell(run, found, since)
        return False

    async def _workers_since(self, now: datetime) -> datetime:
        # The same for all runs that are looked at together.
        if time.monotonic() - self._here_asked_at >= _REMEMBERED_SECONDS:
            self._here_since = await self._asked_here_since(now)
            self._here_asked_at = time.monotonic()
        return self._here_since

    async def _stands_since(self, run: Run, found: WorkflowExecutionDescription) -> datetime | None:
        """Return since when the next workflow task waits to be completed; None where none does."""
        since: datetime | None = None
        async for event in self._backwards(found):
            if event.HasField("workflow_task_completed_event_attributes"):
                break
            if event.HasField("workflow_task_scheduled_event_attributes"):
                since = event.event_time.ToDatetime(UTC)
        if since is None:
            return None
        # What a retried run has in its history happened before it was retried.
        retried_at = await self._database.runs.retried_at(run.id)
        return max(since, found.start_time, retried_at or since)

    async def _backwards(self, found: WorkflowExecutionDescription) -> AsyncIterator[HistoryEvent]:
        """Yield the events of an execution, the newest first."""
        request = GetWorkflowExecutionHistoryReverseRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=found.id, run_id=found.run_id),
            maximum_page_size=_EVENTS_AT_ONCE,
        )
        while True:
            answer = await self._client.workflow_service.get_workflow_execution_history_reverse(
                request, retry=True, timeout=_RPC_TIMEOUT
            )
            for event in answer.history.events:
                yield event
            if not answer.next_page_token:
                return
            request.next_page_token = answer.next_page_token

    async def _over_at(self, run: Run, found: WorkflowExecutionDescription) -> datetime | None:
        """Return when a run's time is over; None without a limit, or before its time begins."""
        limit = await self._limit(run, found)
        taken_at = None if limit is None else await self._taken_up_at(run)
        if limit is None or taken_at is None:
            return None
        began = [run.started_at, taken_at]
        queue = self._database.action_queue
        if run.kind == WorkflowType.ACTION and await queue.has_place(run.workflow_id):
            turn_at = await queue.turn_at(run.workflow_id)
            if turn_at is None:
                return None
            began.append(turn_at)
        retried_at = await self._database.runs.retried_at(run.id)
        if retried_at is not None:
            began.append(retried_at)
        return max(began) + limit

    async def _limit(self, run: Run, found: WorkflowExecutionDescription) -> timedelta | None:
        if run.dry_run:
            return None
        # One that is retried may have another script, but keeps the limit that it began with.
        bundle = found.typed_search_attributes.get(SearchAttribute.BUNDLE) or run.bundle_hash
        if bundle is None or run.integration is None:
            return None
        try:
            config = await self._bundles.config(BundleHash(bundle))
        except NotFoundError:
            return None
        integration = config.integration(run.integration)
        if integration is None:
            return None
        match run.kind:
            case WorkflowType.SYNC:
                sync = integration.sync(run.script)
                seconds = sync.run_timeout if sync else None
            case WorkflowType.ACTION:
                action = integration.action(run.script)
                seconds = action.run_timeout if action else None
            case _:
                seconds = None
        return None if seconds is None else timedelta(seconds=seconds)

    async def _taken_up_at(self, run: Run) -> datetime | None:
        """Return when a worker took a run up first, None where none has."""
        handle = self._client.get_workflow_handle(run.workflow_id, run_id=run.id)
        try:
            async for event in handle.fetch_history_events(page_size=10, rpc_timeout=_RPC_TIMEOUT):
                if event.HasField("workflow_task_started_event_attributes"):
                    return event.event_time.ToDatetime(UTC)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            # So long ago that Temporal has forgotten the execution in which it began.
            return run.started_at
        return None

    async def _terminate(
        self, run: Run, found: WorkflowExecutionDescription, since: datetime
    ) -> bool:
        handle = self._client.get_workflow_handle(found.id, run_id=found.run_id)
        try:
            await handle.terminate(
                OVERDUE, reason=_reason(run, found, since), rpc_timeout=_RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False  # it has just ended by itself
            raise
        log.error("overdue_run_ended", **_whose(run), stands_since=since.isoformat())
        return True

    def _tell(self, run: Run, found: WorkflowExecutionDescription, since: datetime) -> None:
        now = _now()
        self._told = {id_: at for id_, at in self._told.items() if now - at < _TOLD_AGAIN}
        if run.id not in self._told:
            self._told[run.id] = now
            failed = _failed_attempts(found)
            log.warning(
                "run_stands_still", **_whose(run), since=since.isoformat(), failed_attempts=failed
            )


def _now() -> datetime:
    """Return the present by Temporal's clock, where this is a step: when it was to begin."""
    if not activity.in_activity():
        return utcnow()
    return activity.info().current_attempt_scheduled_time


def _may_stand(found: WorkflowExecutionDescription, now: datetime, patience: timedelta) -> bool:
    """Say whether an execution may stand still, by what costs no look at its history."""
    description = found.raw_description
    if found.status is not WorkflowExecutionStatus.RUNNING:
        return False
    if not description.HasField("pending_workflow_task"):
        return False
    waits_since = description.pending_workflow_task.scheduled_time.ToDatetime(UTC)
    return _failed_attempts(found) > 0 or now - waits_since >= patience


def _failed_attempts(found: WorkflowExecutionDescription) -> int:
    """Return how often the workflow task that is due has failed, one after the other."""
    return max(found.raw_description.pending_workflow_task.attempt - 1, 0)


def _reason(run: Run, found: WorkflowExecutionDescription, since: datetime) -> str:
    failed = _failed_attempts(found)
    what = f"it failed {failed} times in a row" if failed else "no worker took it"
    return (
        "The run took longer than it may (run_timeout in nango.yaml) and could not end itself: its "
        f"next workflow task has waited since {since:%Y-%m-%d %H:%M} UTC, and {what}. The history "
        "in Temporal and the workers' logs say why. Once that is mended, "
        f"`perdure runs retry {run.id}` lets the run go on."
    )


def _whose(run: Run) -> dict[str, str]:
    return {
        "run_id": run.id,
        "workflow_id": run.workflow_id,
        "integration": run.integration or "",
        "script": run.script,
    }
