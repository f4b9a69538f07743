"""Syncs: what runs when is Temporal's; what came of it is in our database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Query

from activities.sync_schedules import ScheduleStatus, sync_input
from activities.sync_selection import (
    SelectedSync,
    SyncName,
    command_each,
    command_syncs,
    select_syncs,
)
from api.dependencies import Caller, Dependencies, Deps
from api.errors import ApiError
from api.routers.parameters import (
    IntegrationQuery,
    OptionalConnectionIdHeader,
    OptionalIntegrationHeader,
)
from api.run_views import view_run
from api.schemas.base import Success
from api.schemas.held_deletes import HeldDeletes
from api.schemas.syncs import (
    ChangeCounts,
    SyncState,
    SyncStatus,
    SyncStatusList,
    SyncTarget,
    TriggerBody,
)
from api.temporal import temporal_answers
from perdure.db.environments import Environment
from perdure.db.records import RecordSet
from perdure.db.runs import Run, RunStatus
from perdure.db.syncs import Sync
from perdure.errors import InvalidInputError, NotFoundError
from perdure.temporal.payloads import SyncInput

__all__ = ["router"]

# Temporal works schedules off one after another; more at once only fills its queue.
_CONCURRENCY = 8

_STATES = {
    RunStatus.RUNNING: SyncState.RUNNING,
    RunStatus.SUCCESS: SyncState.SUCCESS,
    RunStatus.FAILED: SyncState.ERROR,
    RunStatus.TIMEOUT: SyncState.ERROR,
    RunStatus.CANCELLED: SyncState.STOPPED,
}

router = APIRouter(tags=["syncs"])


@router.post("/sync/trigger")
async def trigger_syncs(
    deps: Deps,
    caller: Caller,
    body: TriggerBody,
    integration: OptionalIntegrationHeader = None,
    connection_id: OptionalConnectionIdHeader = None,
) -> Success:
    """Run syncs now, or right after the run that is under way."""
    selected = await _select(deps, caller, body, integration, connection_id)
    return await _each(selected, caller, deps.schedules.trigger)


@router.post("/sync/start")
async def start_syncs(
    deps: Deps,
    caller: Caller,
    body: SyncTarget,
    integration: OptionalIntegrationHeader = None,
    connection_id: OptionalConnectionIdHeader = None,
) -> Success:
    """Let syncs run by their schedules again, at once where they were paused."""
    selected = await _select(deps, caller, body, integration, connection_id)
    return await _each(selected, caller, deps.schedules.start)


@router.post("/sync/pause")
async def pause_syncs(
    deps: Deps,
    caller: Caller,
    body: SyncTarget,
    integration: OptionalIntegrationHeader = None,
    connection_id: OptionalConnectionIdHeader = None,
) -> Success:
    """Stop syncs from running, and cancel the runs under way; what they saved stays."""
    selected = await _select(deps, caller, body, integration, connection_id)
    return await _each(selected, caller, deps.schedules.pause)


@router.get("/sync/status")
async def get_sync_status(
    deps: Deps,
    caller: Caller,
    integration: IntegrationQuery,
    syncs: Annotated[str, Query(description="`*`, or names separated by commas.")],
    connection_id: str | None = None,
) -> SyncStatusList:
    """Say how syncs stand."""
    with _missing_connections():
        selected = await select_syncs(
            deps.database,
            deps.bundles,
            caller,
            integration=integration,
            connection_id=connection_id,
            names=[SyncName.parse(name.strip()) for name in syncs.split(",") if name.strip()],
        )
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def status(item: SelectedSync) -> SyncStatus:
        async with limit:
            return await _status(deps, caller, item)

    return SyncStatusList(syncs=await asyncio.gather(*(status(item) for item in selected)))


async def _select(
    deps: Dependencies,
    caller: Environment,
    target: SyncTarget,
    integration: str | None,
    connection_id: str | None,
) -> list[SelectedSync]:
    key = target.provider_config_key or integration
    if not key:
        msg = "Name the integration as `provider_config_key`."
        raise InvalidInputError(msg, code="missing_provider_config_key")
    with _missing_connections():
        return await command_syncs(
            deps.database,
            deps.bundles,
            caller,
            integration=key,
            connection_id=target.connection_id or connection_id,
            names=[
                SyncName.parse(sync) if isinstance(sync, str) else SyncName(sync.name, sync.variant)
                for sync in target.syncs
            ],
        )


@contextmanager
def _missing_connections() -> Iterator[None]:
    """Answer with 404 where a connection is not known; elsewhere clients know it as a 400."""
    try:
        yield
    except NotFoundError as error:
        if error.code != "unknown_connection":
            raise
        raise ApiError(404, error.code, error.message) from error


async def _each(
    selected: Sequence[SelectedSync],
    caller: Environment,
    do: Callable[[SyncInput], Awaitable[bool]],
) -> Success:
    async def answered(sync: SyncInput) -> bool:
        async with temporal_answers():
            return await do(sync)

    await command_each(selected, caller, answered)
    return Success()


async def _status(deps: Dependencies, caller: Environment, item: SelectedSync) -> SyncStatus:
    sync, declared = item.sync, item.declared
    async with temporal_answers():
        schedule = await deps.schedules.status(sync_input(caller.name, sync))
    latest = await deps.database.runs.latest(sync.connection_key, sync.name, sync.variant)
    if latest is not None:
        latest = (await view_run(deps, latest)).run
    count = deps.database.records.count
    return SyncStatus(
        id=sync.id,
        type="INCREMENTAL" if _has_succeeded(sync, latest) else "INITIAL",
        name=sync.name,
        variant=sync.variant,
        connection_id=sync.connection_id,
        status=_state(schedule, latest),
        finishedAt=latest and latest.finished_at,
        nextScheduledSyncAt=schedule and schedule.next_run_at,
        frequency=sync.frequency or declared.runs,
        latestResult=_changes(latest),
        latestExecutionStatus=latest and _STATES[latest.status],
        recordCount={
            model: await count(RecordSet(sync.connection_key, model, sync.variant))
            for model in declared.output
        },
        heldDeletes=HeldDeletes.of(
            await deps.database.delete_tracks.held(sync.connection_key, sync.name, sync.variant)
        ),
    )


def _has_succeeded(sync: Sync, latest: Run | None) -> bool:
    # The run may have ended after the sync was read.
    return sync.last_sync_date is not None or (
        latest is not None and latest.status is RunStatus.SUCCESS
    )


def _state(schedule: ScheduleStatus | None, latest: Run | None) -> SyncState:
    if _is_running(schedule, latest):
        return SyncState.RUNNING
    if schedule is None:
        return SyncState.STOPPED
    if schedule.paused:
        return SyncState.PAUSED
    if latest is None:
        return SyncState.SUCCESS
    # A sync whose schedule goes on has not been stopped, whatever became of its run.
    return SyncState.SUCCESS if latest.status is RunStatus.SUCCESS else SyncState.ERROR


def _is_running(schedule: ScheduleStatus | None, latest: Run | None) -> bool:
    if latest is not None and latest.status is RunStatus.RUNNING:
        return True
    # A schedule hears of the end of a run a moment after our own record of it.
    ended = latest and latest.workflow_id
    return any(workflow_id != ended for workflow_id in (schedule.running if schedule else ()))


def _changes(run: Run | None) -> dict[str, ChangeCounts]:
    return {
        model: ChangeCounts(
            added=counts["added"], updated=counts["updated"], deleted=counts["deleted"]
        )
        for model, counts in (run.counts if run else {}).items()
    }
