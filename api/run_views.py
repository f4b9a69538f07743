"""Runs as they are shown: our rows, made true where Temporal knows better.

A row says `running` until whoever ends the run says otherwise, and nobody does when a run is
terminated, or when the process that waited for it dies. So rows that say so are held against
Temporal before they are shown, and mended for good where the run has ended. Without Temporal rows
are shown as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from temporalio.client import (
    WorkflowContinuedAsNewError,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import FailureError
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import Dependencies
from api.outcomes import failed_outcome
from api.temporal import temporal_answers
from config.settings import Settings
from perdure.clock import utcnow
from perdure.db.runs import Run, RunStatus
from perdure.errors import UnavailableError
from perdure.temporal.failures import leaf_failure

__all__ = ["RunView", "Waiting", "execution_of", "temporal_url", "view_run", "view_runs"]

# Reading is never held up for long by a Temporal that is slow or away.
_PATIENCE = timedelta(seconds=2)
_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a run makes no progress at present.

    Attributes:
        reason: Message of the last failure.
        attempt: Number of the attempt that is due or under way, counted from 1.
        next_attempt_at: When it is due, None while it is under way.
    """

    reason: str
    attempt: int
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, and what it waits for."""

    run: Run
    waiting: Waiting | None = None


def temporal_url(settings: Settings, run: Run) -> str | None:
    """Return the address of a run in the Temporal UI, None where there is none."""
    if not settings.temporal_ui_url:
        return None
    base = settings.temporal_ui_url.rstrip("/")
    namespace = quote(settings.temporal_namespace, safe="")
    workflow = quote(run.workflow_id, safe="")
    return f"{base}/namespaces/{namespace}/workflows/{workflow}/{run.temporal_run_id}/history"


async def view_run(deps: Dependencies, run: Run) -> RunView:
    """Return a run as it stands."""
    return (await view_runs(deps, [run]))[0]


async def view_runs(deps: Dependencies, runs: Sequence[Run]) -> list[RunView]:
    """Return runs as they stand, in the same order."""
    limit = asyncio.Semaphore(_CONCURRENCY)
    give_up_at = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()

    async def view(run: Run) -> RunView:
        if run.status is not RunStatus.RUNNING:
            return RunView(run)
        async with limit:
            left = give_up_at - asyncio.get_running_loop().time()
            if left <= 0:
                return RunView(run)
            try:
                return await _view_running(deps, run, timedelta(seconds=left))
            except UnavailableError:
                return RunView(run)

    return await asyncio.gather(*(view(run) for run in runs))


async def execution_of(
    deps: Dependencies, run: Run, limit: timedelta
) -> WorkflowExecutionDescription | None:
    """Return the execution in which a run goes on, or ended; None where Temporal knows none.

    It is found by its workflow id: a run that continues as new or is retried goes on as another
    execution. Another run may have the id since, that of an action with the same key for example.

    Raises:
        RPCError: Temporal does not answer.
    """
    try:
        found = await deps.temporal.get_workflow_handle(run.workflow_id).describe(rpc_timeout=limit)
        first = found.raw_description.workflow_execution_info.first_run_id
        if run.id not in (first, found.run_id) and run.temporal_run_id != found.run_id:
            found = await deps.temporal.get_workflow_handle(
                run.workflow_id, run_id=run.temporal_run_id
            ).describe(rpc_timeout=limit)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return found


async def _view_running(deps: Dependencies, run: Run, limit: timedelta) -> RunView:
    async with temporal_answers(limit):
        found = await execution_of(deps, run, limit)
        if found is None:
            return RunView(_lost(run))
        if found.run_id != run.temporal_run_id:
            await deps.database.runs.moved(run.id, found.run_id)
            run = replace(run, temporal_run_id=found.run_id)
        if found.status is WorkflowExecutionStatus.RUNNING:
            return RunView(run, await _waiting(found))
        handle = deps.temporal.get_workflow_handle(run.workflow_id, run_id=found.run_id)
        ended = await _ended(handle, found, limit)
    if ended is None:
        return RunView(run)
    status, reason = ended
    await deps.database.runs.finish(
        run.id, status, finished_at=found.close_time or utcnow(), error=reason
    )
    return RunView(await deps.database.runs.get(run.environment_id, run.id))


async def _ended(
    handle: WorkflowHandle[Any, Any], found: WorkflowExecutionDescription, limit: timedelta
) -> tuple[RunStatus, Mapping[str, Any] | None] | None:
    if found.status is WorkflowExecutionStatus.COMPLETED:
        return RunStatus.SUCCESS, None
    try:
        await handle.result(follow_runs=False, rpc_timeout=limit)
    except WorkflowFailureError as failure:
        outcome = failed_outcome(failure)
        return outcome.status, outcome.error
    except WorkflowContinuedAsNewError:
        return None
    return RunStatus.SUCCESS, None


def _lost(run: Run) -> Run:
    # Not written down: a Temporal that has forgotten may be the wrong one.
    error = {
        "type": "run_lost",
        "message": "Temporal does not know this run any more; how it ended is not known.",
    }
    return replace(run, status=RunStatus.FAILED, error=error)


async def _waiting(found: WorkflowExecutionDescription) -> Waiting | None:
    retried = [step for step in found.raw_description.pending_activities if step.attempt > 1]
    if not retried:
        return None
    step = max(retried, key=lambda pending: pending.attempt)
    failure = leaf_failure(await found.data_converter.decode_failure(step.last_failure))
    due = None
    if step.HasField("next_attempt_schedule_time"):
        due = step.next_attempt_schedule_time.ToDatetime(UTC)
    return Waiting(
        reason=failure.message if isinstance(failure, FailureError) else str(failure),
        attempt=step.attempt,
        next_attempt_at=due,
    )
