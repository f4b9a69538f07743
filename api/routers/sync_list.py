"""All syncs of an environment. What Temporal knows of one tells `GET /sync/status`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.dependencies import Caller, Deps
from api.places import decode_place, encode_place
from api.schemas.sync_list import ListedSyncView, SyncList

__all__ = ["router"]

Status = Literal["never", "running", "success", "failed", "timeout", "cancelled"]

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
    return SyncList(
        syncs=[ListedSyncView.of(sync) for sync in found[:limit]],
        next_cursor=encode_place(found[limit - 1].place) if len(found) > limit else None,
    )
