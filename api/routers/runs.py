"""Runs: what ran, how it stands or ended, and what it logged."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from activities.executions import execution_of
from activities.sync_schedules import sync_input
from api.dependencies import Caller, Dependencies, Deps
from api.run_progress import progress_of
from api.run_views import view_run, view_runs
from api.schemas.runs import RunDetail, RunList, RunSummary
from api.temporal import RPC_TIMEOUT, temporal_answers
from perdure.db.environments import Environment
from perdure.db.runs import Run, RunStatus
from perdure.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from perdure.temporal.names import WorkflowType

__all__ = ["detail_of", "router"]

_SHOWN_LOG_LINES = 10_000
_STOPPING = timedelta(seconds=8)
_PATIENCE = timedelta(seconds=2)

router = APIRouter(tags=["runs"])


@router.get("/runs")
async def list_runs(
    deps: Deps,
    caller: Caller,
    *,
    kind: str | None = None,
    integration: str | None = None,
    connection_id: str | None = None,
    script: str | None = None,
    status: RunStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> RunList:
    """Return runs, newest first; follow `next_cursor` for older ones."""
    runs = await deps.database.runs.list(
        caller.id,
        kind=kind,
        integration=integration,
        connection_id=connection_id,
        script=script,
        status=status,
        before=await _last_of_page_before(deps, caller, cursor),
        limit=limit + 1,
    )
    views = await view_runs(deps, runs[:limit])
    return RunList(
        runs=[
            RunSummary.of(view, deps.settings)
            for view in views
            if status is None or view.run.status is status
        ],
        next_cursor=runs[limit - 1].id if len(runs) > limit else None,
    )


@router.get("/runs/{run_id}")
async def get_run(deps: Deps, caller: Caller, run_id: str) -> RunDetail:
    """Return a run with its log."""
    return await detail_of(deps, caller, run_id)


async def detail_of(deps: Dependencies, caller: Environment, run_id: str) -> RunDetail:
    """Return a run of the caller's environment with its log.

    Raises:
        NotFoundError: `unknown_run`.
    """
    view = await view_run(deps, await deps.database.runs.get(caller.id, run_id))
    lines = await deps.database.runs.logs(run_id, limit=_SHOWN_LOG_LINES)
    held = await deps.database.delete_tracks.held_by(run_id)
    seen, next_run_at = await asyncio.gather(
        progress_of(deps, view), _next_run_at(deps, caller, view.run)
    )
    return RunDetail.with_logs(seen, lines, held, deps.settings, next_run_at)


@router.post("/runs/{run_id}/cancel")
async def cancel_run(deps: Deps, caller: Caller, run_id: str) -> RunSummary:
    """End a run that is under way; what it saved stays. It stops within seconds."""
    run = (await view_run(deps, await deps.database.runs.get(caller.id, run_id))).run
    if run.status is not RunStatus.RUNNING:
        msg = f"The run {run.id} has ended ({run.status}); there is nothing to cancel."
        raise ConflictError(msg, code="run_ended")
    async with temporal_answers():
        await _cancel(deps, run)
    run = await deps.database.runs.get(caller.id, run_id)
    return RunSummary.of(await view_run(deps, run), deps.settings)


async def _next_run_at(deps: Dependencies, caller: Environment, run: Run) -> datetime | None:
    if run.kind != WorkflowType.SYNC or run.connection_key is None:
        return None
    try:
        sync = await deps.database.syncs.get(run.connection_key, run.script, run.variant)
        async with temporal_answers(_PATIENCE):
            schedule = await deps.schedules.status(sync_input(caller.name, sync))
    except (NotFoundError, UnavailableError):
        return None
    return schedule.next_run_at if schedule else None


async def _cancel(deps: Dependencies, run: Run) -> None:
    """Ask a run to stop and wait a while for it to do so."""
    found = await execution_of(deps.temporal, run, RPC_TIMEOUT)
    if found is None:
        return
    handle = deps.temporal.get_workflow_handle(run.workflow_id, run_id=found.run_id)
    try:
        await handle.cancel(rpc_timeout=RPC_TIMEOUT)
        async with asyncio.timeout(_STOPPING.total_seconds()):
            await handle.result()
    except (WorkflowFailureError, TimeoutError):
        # It has stopped, or nobody is there to stop it yet: then it does when a worker is.
        return
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def _last_of_page_before(
    deps: Dependencies, caller: Environment, cursor: str | None
) -> Run | None:
    if cursor is None:
        return None
    try:
        return await deps.database.runs.get(caller.id, cursor)
    except NotFoundError as error:
        msg = (
            "This cursor was never given out, or the run it stands for is not kept any more; leave "
            "it out to read from the start."
        )
        raise InvalidInputError(msg, code="invalid_cursor") from error
