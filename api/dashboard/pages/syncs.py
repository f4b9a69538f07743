"""Syncs: all of them, and one of them with its runs, its records and what can be done with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.calls import Api, RefusedError, path_of
from api.dashboard.charts import Curve, curve
from api.dashboard.pages.runs import integration_keys
from api.dashboard.rendering import Page, page_url
from api.dashboard.visit import Visitor
from perdure.ids import BASE_VARIANT

__all__ = ["router"]

_STATUSES = ("failed", "running", "success", "cancelled", "timeout", "never")
_FILTERS = ("integration", "name", "connection", "status", "cursor")
_RUNS = 30

_COMMANDS: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "trigger": ("/sync/trigger", {}, "A run starts now."),
    "reset": ("/sync/trigger", {"opts": {"reset": True}}, "It starts over from the beginning."),
    "empty": (
        "/sync/trigger",
        {"opts": {"reset": True, "emptyCache": True}},
        "It starts over; what the run does not save is gone once it has succeeded.",
    ),
    "pause": ("/sync/pause", {}, "It is paused; a run that was under way is being ended."),
    "start": ("/sync/start", {}, "It runs by its schedule again."),
}

router = APIRouter(prefix="/syncs")


@router.get("")
async def show_syncs(visit: Visitor) -> Response:
    """Show syncs with what their last runs came to."""

    async def build() -> Page:
        wanted = {name: visit.query.get(name) or None for name in _FILTERS}
        found, integrations = await asyncio.gather(
            visit.api.get("/syncs", {**wanted, "limit": 50}), integration_keys(visit.api)
        )
        values = {
            "syncs": found["syncs"],
            "next_cursor": found["next_cursor"],
            "wanted": wanted,
            "integrations": integrations,
            "statuses": _STATUSES,
        }
        is_busy = any(sync["status"] == "running" for sync in found["syncs"])
        return Page("syncs.html", "Syncs", values, is_busy=is_busy)

    return await visit.show(build)


@router.get("/{integration}/{connection_id}/{name}")
async def show_sync(visit: Visitor, integration: str, connection_id: str, name: str) -> Response:
    """Show how a sync stands, how far its run is, and what its runs did."""
    variant = visit.query.get("variant") or BASE_VARIANT

    async def build() -> Page:
        status, runs, script = await asyncio.gather(
            _status(visit.api, integration, connection_id, name, variant),
            _runs(visit.api, integration, connection_id, name, variant),
            _script(visit.api, integration, name),
        )
        running = next((run for run in runs if run["status"] == "running"), None)
        values = {
            "sync": status,
            "integration": integration,
            "connection_id": connection_id,
            "name": name,
            "variant": variant,
            "runs": runs,
            "running": running,
            "script": script,
            "records": _records_over_time(status, runs),
        }
        return Page("sync.html", f"{integration} / {name}", values, is_busy=running is not None)

    return await visit.show(build)


@router.post("/{integration}/{connection_id}/{name}/frequency")
async def set_frequency(
    visit: Visitor, integration: str, connection_id: str, name: str
) -> Response:
    """Change how often a sync runs."""
    form = await visit.form()
    frequency = form.get("frequency", "").strip() or None
    variant = form.get("variant") or BASE_VARIANT
    body = {
        "provider_config_key": integration,
        "connection_id": connection_id,
        "sync_name": name,
        "sync_variant": variant,
        "frequency": frequency,
    }
    return await visit.do(
        visit.api.call("PUT", "/sync/update-connection-frequency", body=body),
        to=_page_of(integration, connection_id, name, variant),
        done=f"It runs {frequency} now." if frequency else "It runs as often as deployed.",
    )


@router.post("/{integration}/{connection_id}/{name}/confirm-deletes")
async def confirm_deletes(
    visit: Visitor, integration: str, connection_id: str, name: str
) -> Response:
    """Carry out deletions that are held back, or dismiss them."""
    form = await visit.form()
    variant = form.get("variant") or BASE_VARIANT
    dismisses = form.get("dismiss") == "yes"
    body = {
        "provider_config_key": integration,
        "connection_id": connection_id,
        "sync": name,
        "variant": variant,
        "model": form.get("model", ""),
        "dismiss": dismisses,
    }
    return await visit.do(
        visit.api.call("POST", "/sync/confirm-deletes", body=body),
        to=_page_of(integration, connection_id, name, variant),
        done="The deletions are dismissed." if dismisses else "The deletions are carried out.",
    )


@router.post("/{integration}/{connection_id}/{name}/{command}")
async def command_sync(
    visit: Visitor, integration: str, connection_id: str, name: str, command: str
) -> Response:
    """Trigger, pause, start or reset a sync."""
    form = await visit.form()
    variant = form.get("variant") or BASE_VARIANT
    to = _page_of(integration, connection_id, name, variant)
    if command not in _COMMANDS:
        return visit.go(to, ("failed", "There is no such command."))
    path, body, done = _COMMANDS[command]
    target = {
        "provider_config_key": integration,
        "connection_id": connection_id,
        "syncs": [{"name": name, "variant": variant}],
    }
    return await visit.do(visit.api.call("POST", path, body={**target, **body}), to=to, done=done)


def _page_of(integration: str, connection_id: str, name: str, variant: str) -> str:
    shown = None if variant == BASE_VARIANT else variant
    return page_url("syncs", integration, connection_id, name, variant=shown)


async def _status(
    api: Api, integration: str, connection_id: str, name: str, variant: str
) -> dict[str, Any]:
    wanted = name if variant == BASE_VARIANT else f"{name}::{variant}"
    query = {
        "provider_config_key": integration,
        "connection_id": connection_id,
        "syncs": wanted,
    }
    found = await api.get("/sync/status", query)
    status: dict[str, Any] = found["syncs"][0]
    return status


async def _runs(
    api: Api, integration: str, connection_id: str, name: str, variant: str
) -> list[dict[str, Any]]:
    query = {
        "kind": "sync",
        "integration": integration,
        "connection_id": connection_id,
        "script": name,
        "limit": _RUNS,
    }
    try:
        found = await api.get("/runs", query)
    except RefusedError as refusal:
        if refusal.status != 403:
            raise
        return []
    return [run for run in found["runs"] if run["variant"] == variant and not run["dry_run"]]


async def _script(api: Api, integration: str, name: str) -> dict[str, Any] | None:
    try:
        path = path_of("integrations", integration, "functions", name)
        found = await api.get(path, {"type": "sync"})
    except RefusedError:
        return None
    script: dict[str, Any] = found["data"]
    return script


def _records_over_time(
    status: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]
) -> Curve | None:
    """Return how many records there were after each run, reckoned back from now."""
    total = sum(status["recordCount"].values())
    moments, totals = [], []
    for run in runs:
        if run["finished_at"] is None:
            continue
        moments.append(run["finished_at"])
        totals.append(max(0, total))
        total -= sum(count["added"] - count["deleted"] for count in run["counts"].values())
    if len(moments) < 2:
        return None
    return curve(moments[::-1], totals[::-1], "records")
