"""What runs logged: searched over all of them, or followed in one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.dependencies import Caller, Deps
from api.schemas.logs import FoundLineView, FoundLogs, RunLog
from perdure.db.log_search import LogQuery
from perdure.db.runs import RunStatus
from perdure.records.cursor import decode_cursor, encode_cursor

__all__ = ["router"]

Level = Literal["debug", "info", "warn", "error"]

router = APIRouter(tags=["runs"])


@router.get("/logs")
async def search_logs(
    deps: Deps,
    caller: Caller,
    *,
    text: Annotated[
        str | None, Query(max_length=1000, description="In the message, whatever the case.")
    ] = None,
    level: Annotated[list[Level] | None, Query(description="One of these.")] = None,
    integration: str | None = None,
    connection_id: str | None = None,
    script: str | None = None,
    run_id: str | None = None,
    since: Annotated[datetime | None, Query(description="At this moment or later.")] = None,
    until: Annotated[datetime | None, Query(description="Before this moment.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> FoundLogs:
    """Search the logs of all runs, from the newest line back; follow `next_cursor` for older."""
    query = LogQuery(
        run_id=run_id,
        text=text or None,
        levels=level,
        integration=integration,
        connection_id=connection_id,
        script=script,
        since=since,
        until=until,
    )
    place = None if cursor is None else decode_cursor(cursor)
    found = await deps.database.log_search.search(caller.id, query, place=place, limit=limit)
    return FoundLogs(
        logs=[FoundLineView.of(line) for line in found.lines],
        next_cursor=None if found.next_place is None else encode_cursor(found.next_place),
        back_to=found.back_to,
    )


@router.get("/runs/{run_id}/logs")
async def read_run_log(
    deps: Deps,
    caller: Caller,
    run_id: str,
    *,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    cursor: str | None = None,
) -> RunLog:
    """Return what a run logged after the cursor; ask again with the new one to follow it."""
    # Before the lines: what is written in between is not missed then.
    run = await deps.database.runs.get(caller.id, run_id)
    after = 0 if cursor is None else decode_cursor(cursor)
    lines = await deps.database.log_search.after(caller.id, run_id, after, limit=limit)
    return RunLog(
        logs=[FoundLineView.of(line) for line in lines],
        cursor=encode_cursor(lines[-1].id if lines else after),
        ended=run.status is not RunStatus.RUNNING,
    )
