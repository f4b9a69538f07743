"""Runs as they are shown: our rows, made true where Temporal knows better.

A row says `running` until whoever ends the run says otherwise, and nobody does when a run is
terminated, or when the process that waited for it dies. So rows that say so are held against
Temporal before they are shown; those of actions are mended for good, those of syncs are left to
`activities.run_settling`, which has more to do. Without Temporal rows are shown as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import FailureError

from activities.executions import execution_of, outcome_of
from activities.run_counts import count_end
from api.dependencies import Dependencies
from api.temporal import temporal_answers
from config.settings import Settings
from perdure.clock import utcnow
from perdure.db.runs import Run, RunStatus
from perdure.errors import UnavailableError
from perdure.temporal.failures import leaf_failure
from perdure.temporal.names import WorkflowType

__all__ = ["RunView", "Waiting", "temporal_url", "view_run", "view_runs", "waiting_of"]

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
    """A run, and what it waits for.

    Attributes:
        execution: Its present execution, None where it has ended or Temporal is away.
    """

    run: Run
    waiting: Waiting | None = None
    execution: WorkflowExecutionDescription | None = None


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


async def _view_running(deps: Dependencies, run: Run, limit: timedelta) -> RunView:
    async with temporal_answers(limit):
        found = await execution_of(deps.temporal, run, limit)
        if found is None:
            return RunView(_lost(run))
        if found.run_id != run.temporal_run_id:
            await deps.database.runs.moved(run.id, found.run_id)
            run = replace(run, temporal_run_id=found.run_id)
        if found.status is WorkflowExecutionStatus.RUNNING:
            return RunView(run, await waiting_of(found), found)
        outcome = await outcome_of(deps.temporal, found, limit)
    if outcome is None:
        return RunView(run)
    ended_at = found.close_time or utcnow()
    if run.kind == WorkflowType.SYNC:
        # Whoever settles it has more to do than to end the row; until then it is shown so.
        ended = replace(
            run, status=outcome.status, finished_at=ended_at, error=_as_object(outcome.error)
        )
        return RunView(ended)
    count_end(
        await deps.database.runs.finish(
            run.id, outcome.status, finished_at=ended_at, error=outcome.error
        )
    )
    return RunView(await deps.database.runs.get(run.environment_id, run.id))


def _as_object(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if error is None else dict(error)


def _lost(run: Run) -> Run:
    # Not written down: a Temporal that has forgotten may be the wrong one.
    error = {
        "type": "run_lost",
        "message": "Temporal does not know this run any more; how it ended is not known.",
    }
    return replace(run, status=RunStatus.FAILED, error=error)


async def waiting_of(found: WorkflowExecutionDescription) -> Waiting | None:
    """Return what an execution waits for, None where all its steps are in their first attempt."""
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
