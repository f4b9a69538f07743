"""Webhooks of providers: taking them, and looking at what became of them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException

from api.dependencies import Caller, Dependencies, Deps, Waker
from api.errors import not_found_as_404
from api.schemas.incoming_webhooks import EventDetail, EventList, EventSummary
from perdure.db.webhook_events import EventStatus
from perdure.ids import EnvironmentId
from perdure.records.cursor import decode_cursor, encode_cursor
from perdure.webhooks.incoming import IncomingWebhook

__all__ = ["router"]

# Anybody may send one; the largest that a provider sends are GitHub's.
_MAX_BODY_BYTES = 25 * 1024 * 1024
_EVENT_HEADER = "x-perdure-event"

router = APIRouter(tags=["webhooks"])


@router.head("/webhook/{environment}/{provider_config_key}", include_in_schema=False)
async def find_webhook_endpoint(deps: Deps, environment: str, provider_config_key: str) -> Response:
    """Say that there is somebody: some providers ask before they send anything."""
    with not_found_as_404():
        await deps.database.integrations.endpoint(environment, provider_config_key)
    return Response()


@router.post("/webhook/{environment}/{provider_config_key}", response_class=Response)
async def take_webhook(
    deps: Deps, waker: Waker, request: Request, environment: str, provider_config_key: str
) -> Response:
    """Take a webhook of a provider; with the answer it is stored, and will be handled."""
    webhook = await _read(deps, request)
    with not_found_as_404():
        taken = await deps.webhooks.take(environment, provider_config_key, webhook)
    if not taken.has_rules:
        return Response(status_code=204)
    if taken.answer is not None:
        return Response(taken.answer, media_type="text/plain")
    waker.wake(taken)
    return Response(headers={_EVENT_HEADER: ",".join(map(str, taken.events))})


@router.get("/webhooks/events")
async def list_webhook_events(
    deps: Deps,
    caller: Caller,
    *,
    integration: str | None = None,
    kind: Annotated[str | None, Query(alias="type")] = None,
    status: EventStatus | None = None,
    connection_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> EventList:
    """Return what providers have sent, newest first; follow `next_cursor` for older ones."""
    found = await deps.database.webhook_events.list(
        caller.id,
        integration=integration,
        type=kind,
        status=status,
        connection_id=connection_id,
        before_seq=None if cursor is None else decode_cursor(cursor),
        limit=limit + 1,
    )
    return EventList(
        events=[EventSummary.of(event) for event in found[:limit]],
        next_cursor=encode_cursor(found[limit - 1].seq) if len(found) > limit else None,
    )


@router.get("/webhooks/events/{event_id}")
async def get_webhook_event(deps: Deps, caller: Caller, event_id: UUID) -> EventDetail:
    """Return a webhook with what it says and what became of it."""
    return await _detail(deps, caller.id, event_id)


@router.post("/webhooks/events/{event_id}/replay")
async def replay_webhook_event(
    deps: Deps, caller: Caller, waker: Waker, event_id: UUID
) -> EventDetail:
    """Have a webhook handled again, as if it had come now: by what is deployed and connected."""
    event = await deps.database.webhook_events.get(caller.id, event_id)
    waker.wake(await deps.webhooks.again(caller.name, event))
    return await _detail(deps, caller.id, event_id)


async def _detail(deps: Dependencies, environment_id: EnvironmentId, event_id: UUID) -> EventDetail:
    events = deps.database.webhook_events
    event = await events.get(environment_id, event_id)
    return EventDetail.with_content(
        event, await events.content(event_id), await events.tasks(event_id)
    )


async def _read(deps: Dependencies, request: Request) -> IncomingWebhook:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise HTTPException(413)
    return IncomingWebhook(
        headers=dict(request.headers),
        body=bytes(body),
        query=dict(request.query_params),
        method=request.method,
        uri=_uri(deps, request),
    )


def _uri(deps: Dependencies, request: Request) -> str:
    """Return the URL as the provider called it, which a proxy before us may hide from us."""
    base = deps.settings.server_url
    if base is None:
        return str(request.url)
    path = request.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
    query = request.url.query
    return f"{base.rstrip('/')}{path}{'?' if query else ''}{query}"
