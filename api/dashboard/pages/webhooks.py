"""Webhooks: those that go to the application, and those that providers send."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.calls import RefusedError, path_of
from api.dashboard.pages.runs import integration_keys
from api.dashboard.rendering import Page, page_url
from api.dashboard.visit import Visitor

__all__ = ["router"]

_DELIVERY_STATUSES = ("pending", "delivered", "failed")
_EVENT_STATUSES = ("pending", "processed", "failed", "ignored")
_SWITCHES = (
    "on_auth_creation",
    "on_auth_refresh_error",
    "on_sync_completion_always",
    "on_sync_error",
    "on_async_action_completion",
)

router = APIRouter(prefix="/webhooks")


@router.get("")
async def show_deliveries(visit: Visitor) -> Response:
    """Show what was sent to the application, newest first."""

    async def build() -> Page:
        wanted = {name: visit.query.get(name) or None for name in ("status", "cursor")}
        found = await visit.api.get("/webhooks/deliveries", {**wanted, "limit": 50})
        values = {
            "deliveries": found["deliveries"],
            "next_cursor": found["next_cursor"],
            "wanted": wanted,
            "statuses": _DELIVERY_STATUSES,
            "tab": "out",
        }
        is_busy = any(one["status"] == "pending" for one in found["deliveries"])
        return Page("webhooks_out.html", "Webhooks", values, is_busy=is_busy)

    return await visit.show(build)


@router.get("/out/{delivery_id}")
async def show_delivery(visit: Visitor, delivery_id: str) -> Response:
    """Show a delivery with its attempts."""

    async def build() -> Page:
        delivery = await visit.api.get(path_of("webhooks", "deliveries", delivery_id))
        is_busy = delivery["status"] == "pending"
        return Page("webhook_out.html", delivery["type"], {"delivery": delivery}, is_busy=is_busy)

    return await visit.show(build)


@router.post("/out/{delivery_id}/redeliver")
async def redeliver(visit: Visitor, delivery_id: str) -> Response:
    """Send a webhook again."""
    await visit.form()
    call = visit.api.call("POST", path_of("webhooks", "deliveries", delivery_id, "redeliver"))
    return await visit.do(
        call, to=page_url("webhooks", "out", delivery_id), done="It is sent again."
    )


@router.get("/in")
async def show_events(visit: Visitor) -> Response:
    """Show what providers have sent, newest first."""

    async def build() -> Page:
        names = ("status", "integration", "type", "cursor")
        wanted = {name: visit.query.get(name) or None for name in names}
        found = await visit.api.get("/webhooks/events", {**wanted, "limit": 50})
        values = {
            "events": found["events"],
            "next_cursor": found["next_cursor"],
            "wanted": wanted,
            "integrations": await integration_keys(visit.api),
            "statuses": _EVENT_STATUSES,
            "tab": "in",
        }
        is_busy = any(one["status"] == "pending" for one in found["events"])
        return Page("webhooks_in.html", "Webhooks", values, is_busy=is_busy)

    return await visit.show(build)


@router.get("/in/{event_id}")
async def show_event(visit: Visitor, event_id: str) -> Response:
    """Show a webhook of a provider, and what was done about it."""

    async def build() -> Page:
        event = await visit.api.get(path_of("webhooks", "events", event_id))
        is_busy = event["status"] == "pending"
        return Page("webhook_in.html", event["integration"], {"event": event}, is_busy=is_busy)

    return await visit.show(build)


@router.post("/in/{event_id}/replay")
async def replay(visit: Visitor, event_id: str) -> Response:
    """Have a webhook handled again."""
    await visit.form()
    call = visit.api.call("POST", path_of("webhooks", "events", event_id, "replay"))
    return await visit.do(
        call, to=page_url("webhooks", "in", event_id), done="It is handled again."
    )


@router.get("/settings")
async def show_settings(visit: Visitor) -> Response:
    """Show where webhooks go, and of what they tell."""

    async def build() -> Page:
        settings = await visit.api.get("/environment/webhooks")
        values = {"settings": settings, "switches": _SWITCHES, "tab": "settings"}
        return Page("webhook_settings.html", "Webhooks", values)

    return await visit.show(build)


@router.post("/settings")
async def change_settings(visit: Visitor) -> Response:
    """Change where webhooks go, or of what they tell."""
    form = await visit.form()
    body: dict[str, object] = {name: form.get(name) == "yes" for name in _SWITCHES}
    for name in ("primary_url", "secondary_url"):
        body[name] = form.get(name, "").strip() or None
    call = visit.api.call("PATCH", "/environment/webhooks", body=body)
    return await visit.do(call, to=page_url("webhooks", "settings"), done="It is saved.")


@router.post("/settings/signing-key")
async def rotate_signing_key(visit: Visitor) -> Response:
    """Make a new signing key, and show it this once."""
    await visit.form()
    try:
        made = await visit.api.call("POST", "/environment/webhook-signing-key/rotate")
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("webhooks", "settings"))
    values = {"what": "Signing key", "secret": made["signing_key"], "back": "webhooks"}
    return await visit.show_once(Page("shown_once.html", "Signing key", values))
