"""All syncs of an environment. What Temporal knows of their schedules tells `GET /sync/status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.dependencies import Caller, Dependencies, Deps
from api.places import decode_place, encode_place
from api.run_views import RunView, view_runs
from api.schemas.sync_list import ListedSyncView, SyncList
from perdure.db.environments import Environment
from perdure.db.runs import RunStatus
from perdure.db.sync_list import ListedSync

__all__ = ["router"]

Status = Literal["never", "running", "success", "failed", "timeout", "cancelled"]

# A page of the dashboard.
_HELD_AGAINST_TEMPORAL = 50

router = APIRouter(tags=["syncs"])


@router.get("/syncs")
async def list_syncs(
    deps: Deps,
    caller: Caller,
    *,
    integration: str | None = None,
    name: Annotated[str | None, Query(description="Name of the script.")] = None,
    connection: Annotated[
        str | None, Query(description="A part of the name of the connection.")
    ] = None,
    status: Annotated[list[Status] | None, Query(description="Of the last run.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> SyncList:
    """Return syncs with what their last run came to; follow `next_cursor` for more."""
    found = await deps.database.sync_list.list(
        caller.id,
        integration=integration,
        name=name,
        connection=connection,
        statuses=status,
        after=decode_place(cursor),
        limit=limit + 1,
    )
    last = await _under_way(deps, caller, found[:limit])
    syncs = [ListedSyncView.of(sync, last.get(sync.run_id or "")) for sync in found[:limit]]
    return SyncList(
        # As in the list of runs: one that has ended meanwhile is none that runs.
        syncs=[sync for sync in syncs if status is None or sync.status in status],
        next_cursor=encode_place(found[limit - 1].place) if len(found) > limit else None,
    )


async def _under_way(
    deps: Dependencies, caller: Environment, syncs: Sequence[ListedSync]
) -> Mapping[str, RunView]:
    """Return last runs whose rows say that they are under way, as they stand, by id."""
    running = [
        sync.run_id
        for sync in syncs
        if sync.run_id is not None and sync.status == RunStatus.RUNNING
    ][:_HELD_AGAINST_TEMPORAL]
    if not running:
        return {}
    runs = await deps.database.runs.of_ids(caller.id, running)
    return {view.run.id: view for view in await view_runs(deps, list(runs.values()))}
