"""How syncs stand: what their schedules do next, and what our own tables tell of their runs.

A few schedules, and those of one connection, are asked themselves. Of many Temporal gives a list of
the whole integration, and only those are asked of which the list cannot tell how they stand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from activities.sync_schedules import ScheduleStatus, schedule_id, sync_input
from activities.sync_selection import SelectedSync
from api.dependencies import Dependencies
from api.run_progress import PATIENCE, SeenProgress, progress_of
from api.run_views import RunView, view_runs
from api.schemas.held_deletes import HeldDeletes
from api.schemas.runs import ProgressView, WaitingView
from api.schemas.syncs import ChangeCounts, SyncState, SyncStatus
from api.temporal import temporal_answers
from perdure.clock import utcnow
from perdure.db.environments import Environment
from perdure.db.runs import Run, RunStatus
from perdure.db.sync_standings import SyncStanding
from perdure.db.syncs import Sync

__all__ = ["sync_statuses"]

# Temporal works schedules off one after another; more at once only fills its queue.
_CONCURRENCY = 8
_FEW = 8
_LISTING = timedelta(seconds=60)

_STATES = {
    RunStatus.RUNNING: SyncState.RUNNING,
    RunStatus.SUCCESS: SyncState.SUCCESS,
    RunStatus.FAILED: SyncState.ERROR,
    RunStatus.TIMEOUT: SyncState.ERROR,
    RunStatus.CANCELLED: SyncState.STOPPED,
}


async def sync_statuses(
    deps: Dependencies, caller: Environment, integration: str, selected: Sequence[SelectedSync]
) -> list[SyncStatus]:
    """Return how syncs of an integration stand, in the same order.

    Raises:
        UnavailableError: Temporal or Postgres does not answer.
    """
    listed: dict[str, ScheduleStatus] = {}
    if len(selected) > _FEW and len({item.sync.connection_key for item in selected}) > 1:
        async with temporal_answers(_LISTING):
            listed = await deps.schedules.listed(caller.name, integration)
    # The schedules first: what our tables know afterwards is newer.
    asked = {} if listed else await _asked(deps, caller, selected)
    standings = await deps.database.sync_standings.of([item.sync for item in selected])
    if listed:
        known = [listed.get(_id(caller, item)) for item in selected]
        doubtful = [
            item
            for item, schedule, standing in zip(selected, known, standings, strict=True)
            if schedule is None or _may_be_running(schedule, standing.latest)
        ]
        asked = await _asked(deps, caller, doubtful)
        if asked:
            standings = await deps.database.sync_standings.of([item.sync for item in selected])
    schedules: dict[str, ScheduleStatus | None] = {**listed, **asked}
    seen = await _seen(deps, [standing.latest for standing in standings])
    return [
        _status(item, schedules.get(_id(caller, item)), standing, progress)
        for item, standing, progress in zip(selected, standings, seen, strict=True)
    ]


def _id(caller: Environment, item: SelectedSync) -> str:
    return schedule_id(sync_input(caller.name, item.sync))


async def _asked(
    deps: Dependencies, caller: Environment, selected: Sequence[SelectedSync]
) -> dict[str, ScheduleStatus | None]:
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def ask(item: SelectedSync) -> tuple[str, ScheduleStatus | None]:
        async with limit, temporal_answers():
            return _id(caller, item), await deps.schedules.status(
                sync_input(caller.name, item.sync)
            )

    return dict(await asyncio.gather(*map(ask, selected)))


def _may_be_running(schedule: ScheduleStatus, latest: Run | None) -> bool:
    """Say whether a listed run may be under way of which our tables know nothing yet."""
    return any(latest is None or execution.run_id != latest.id for execution in schedule.running)


async def _seen(deps: Dependencies, latest: Sequence[Run | None]) -> list[SeenProgress | None]:
    """Return the runs as they stand, those that are under way with how far they are."""
    views = iter(await view_runs(deps, [run for run in latest if run is not None]))
    # All of them together, however many wait for a worker that does not run.
    until = utcnow() + PATIENCE
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def look(view: RunView) -> SeenProgress:
        async with limit:
            return await progress_of(deps, view, until - utcnow())

    found = iter(await asyncio.gather(*map(look, views)))
    return [None if run is None else next(found) for run in latest]


def _status(
    item: SelectedSync,
    schedule: ScheduleStatus | None,
    standing: SyncStanding,
    seen: SeenProgress | None,
) -> SyncStatus:
    sync, declared = item.sync, item.declared
    latest = seen.view.run if seen else None
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
        recordCount={model: standing.counts.get(model, 0) for model in declared.output},
        checkpoint=None if standing.checkpoint is None else dict(standing.checkpoint),
        heldDeletes=HeldDeletes.of(standing.held),
        progress=ProgressView.of(seen.progress) if seen else None,
        waiting=WaitingView.of(seen.view.waiting) if seen else None,
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
    ended = latest and latest.id
    return any(execution.run_id != ended for execution in (schedule.running if schedule else ()))


def _changes(run: Run | None) -> dict[str, ChangeCounts]:
    return {
        model: ChangeCounts(
            added=counts["added"], updated=counts["updated"], deleted=counts["deleted"]
        )
        for model, counts in (run.counts if run else {}).items()
    }
