"""The change stream of records, followed live by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.dependencies import Caller, Deps
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from perdure.db.records import RecordSet
from perdure.ids import BASE_VARIANT
from perdure.records.cursor import decode_cursor

__all__ = ["router"]

_PAGE = 1_000
# Word of a change may be lost while a connection breaks; this long it then takes to be seen.
_LOOK_SECONDS = 10.0
_RECONNECT_MILLISECONDS = 1_000

router = APIRouter(tags=["records"])


@dataclass(frozen=True, slots=True)
class _Follower:
    """What is followed, and from where; None is the beginning."""

    records: RecordSet
    cursor: str | None


async def _follower(
    deps: Deps,
    caller: Caller,
    *,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    model: Annotated[str, Query(min_length=1, max_length=255)],
    variant: Annotated[str, Query(min_length=1, max_length=255)] = BASE_VARIANT,
    cursor: Annotated[
        str | None, Query(max_length=1000, description="Only changes after this one.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(description="As browsers send it when they connect again.")
    ] = None,
) -> _Follower:
    connection = await deps.database.connections.get(caller.id, integration, connection_id)
    start = last_event_id or cursor
    if start is not None:
        decode_cursor(start)
    return _Follower(RecordSet(connection.key, model, variant), start)


@router.get("/records/stream", response_class=EventSourceResponse)
async def stream_records(
    request: Request, deps: Deps, follower: Annotated[_Follower, Depends(_follower)]
) -> AsyncIterator[ServerSentEvent]:
    """Send every change from the cursor on, then each further one as it is committed.

    An event is a record as `GET /records` returns it, and its id is the record's cursor: whoever
    connects again with it misses nothing.
    """
    stopping: asyncio.Event = request.app.state.stopping
    cursor = follower.cursor
    yield ServerSentEvent(retry=_RECONNECT_MILLISECONDS, comment="following")
    async with deps.database.record_changes.follow(follower.records) as changed:
        while not stopping.is_set():
            # Before looking, so that what is committed meanwhile leads to another look.
            changed.clear()
            page = await deps.database.records.list(
                follower.records, after_cursor=cursor, limit=_PAGE
            )
            for record, place in zip(page.records, page.cursors, strict=True):
                yield ServerSentEvent(raw_data=record.decode(), event="record", id=place)
                cursor = place
            if page.next_cursor is None:
                await _any_of(changed, stopping)


async def _any_of(*events: asyncio.Event) -> None:
    """Wait until one of the events is set, but never for long."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
