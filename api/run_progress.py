"""How far a run is that is under way, as its workflow tells: briefly asked, gladly gone without."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio.client import WorkflowExecutionDescription, WorkflowQueryFailedError
from temporalio.service import RPCError

from api.dependencies import Dependencies
from api.run_views import RunView, Waiting, waiting_of
from api.temporal import temporal_answers
from perdure.db.run_cursors import CursorKey
from perdure.errors import UnavailableError
from perdure.temporal.names import PROGRESS_QUERY
from perdure.temporal.payloads import RunProgress

__all__ = ["PATIENCE", "SeenProgress", "progress_of"]

PATIENCE = timedelta(seconds=2)
"""How long a worker is waited for; where none runs nothing answers."""

_CHILDREN = 10


@dataclass(frozen=True, slots=True)
class SeenProgress:
    """How far a run is.

    Attributes:
        view: The run, with what it or one of its items waits for.
        progress: What its workflow tells, None where no worker answers or it has ended.
    """

    view: RunView
    progress: RunProgress | None = None


async def progress_of(
    deps: Dependencies, view: RunView, limit: timedelta = PATIENCE
) -> SeenProgress:
    """Return how far a run is, as far as that is told within the limit."""
    found = view.execution
    if found is None or limit <= timedelta(0):
        return SeenProgress(view)
    progress, waiting = await asyncio.gather(
        _asked(deps, found, limit), _items_waiting(deps, view, limit)
    )
    if progress is not None:
        view, progress = await _with_saved(deps, view, progress)
    waiting = view.waiting or waiting or (_own_wait(progress) if progress else None)
    return SeenProgress(replace(view, waiting=waiting), progress)


async def _asked(
    deps: Dependencies, found: WorkflowExecutionDescription, limit: timedelta
) -> RunProgress | None:
    handle = deps.temporal.get_workflow_handle(found.id, run_id=found.run_id)
    try:
        async with temporal_answers(limit):
            progress: RunProgress = await handle.query(
                PROGRESS_QUERY, result_type=RunProgress, rpc_timeout=limit
            )
    except (UnavailableError, RPCError, WorkflowQueryFailedError):
        return None
    return progress


async def _with_saved(
    deps: Dependencies, view: RunView, progress: RunProgress
) -> tuple[RunView, RunProgress]:
    """Add the pages that are saved already of a step which has not ended, and what became of them.

    The row of the run was read before its workflow was asked, which may have taken a while.
    """
    key = CursorKey(view.run.id, view.run.workflow_id, progress.read)
    try:
        saved = await deps.database.run_cursors.saved(key)
    except UnavailableError:
        return view, progress
    if saved is None:
        return view, progress
    view = replace(view, run=replace(view.run, counts=saved.counts))
    more = max(saved.pages - progress.read_pages, 0) if progress.read else 0
    return view, progress.model_copy(update={"pages": progress.pages + more})


async def _items_waiting(deps: Dependencies, view: RunView, limit: timedelta) -> Waiting | None:
    """Return what the first items of `nango.each` wait for that are under way."""
    if view.execution is None or view.waiting is not None:
        return None
    children = view.execution.raw_description.pending_children[:_CHILDREN]
    try:
        async with temporal_answers(limit):
            waits: Sequence[Waiting | None] = await asyncio.gather(
                *(_waiting(deps, child.workflow_id) for child in children)
            )
    except UnavailableError:
        return None
    return next((wait for wait in waits if wait is not None), None)


async def _waiting(deps: Dependencies, workflow_id: str) -> Waiting | None:
    try:
        found = await deps.temporal.get_workflow_handle(workflow_id).describe()
    except RPCError:
        return None
    return await waiting_of(found)


def _own_wait(progress: RunProgress) -> Waiting | None:
    wait = progress.wait
    return None if wait is None else Waiting(wait.reason, wait.attempt, wait.until)
