"""Runs: all of them, and one of them step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.calls import Api, RefusedError, path_of
from api.dashboard.rendering import Page
from api.dashboard.visit import Visitor

__all__ = ["router"]

_KINDS = ("sync", "action", "on-event", "webhook")
_STATUSES = ("running", "success", "failed", "timeout", "cancelled")
_FILTERS = ("kind", "integration", "connection_id", "script", "status", "cursor")
_LOG_LINES = 500

router = APIRouter(prefix="/runs")


@router.get("")
async def show_runs(visit: Visitor) -> Response:
    """Show runs, newest first."""

    async def build() -> Page:
        wanted = {name: visit.query.get(name) or None for name in _FILTERS}
        found, integrations = await asyncio.gather(
            visit.api.get("/runs", {**wanted, "limit": 50}), integration_keys(visit.api)
        )
        values = {
            "runs": found["runs"],
            "next_cursor": found["next_cursor"],
            "wanted": wanted,
            "integrations": integrations,
            "kinds": _KINDS,
            "statuses": _STATUSES,
        }
        is_busy = any(run["status"] == "running" for run in found["runs"])
        return Page("runs.html", "Runs", values, is_busy=is_busy)

    return await visit.show(build)


@router.get("/{run_id}")
async def show_run(visit: Visitor, run_id: str) -> Response:
    """Show what a run did, step by step, and why it failed."""

    async def build() -> Page:
        run, timeline = await asyncio.gather(
            visit.api.get(path_of("runs", run_id)),
            _timeline(visit.api, run_id, whole="all" in visit.query),
        )
        values = {
            "run": run,
            "timeline": timeline,
            "source": await _source(visit.api, run),
            "logs": run["logs"][-_LOG_LINES:],
            "more_logs": len(run["logs"]) > _LOG_LINES,
        }
        title = f"{run['script']} · {run['status']}"
        return Page("run.html", title, values, is_busy=run["status"] == "running")

    return await visit.show(build)


@router.post("/{run_id}/cancel")
async def cancel_run(visit: Visitor, run_id: str) -> Response:
    """End a run."""
    await visit.form()
    path = path_of("runs", run_id, "cancel")
    return await visit.do(
        visit.api.call("POST", path),
        to=f"/dashboard{path_of('runs', run_id)}",
        done="The run was asked to stop.",
    )


@router.post("/{run_id}/retry")
async def retry_run(visit: Visitor, run_id: str) -> Response:
    """Let a run go on at the step that failed."""
    form = await visit.form()
    path = path_of("runs", run_id, "retry")
    return await visit.do(
        visit.api.call("POST", path, body={"bundle": form.get("bundle", "own")}),
        to=f"/dashboard{path_of('runs', run_id)}",
        done="The run goes on at the step that failed.",
    )


async def integration_keys(api: Api) -> list[str]:
    """Return the keys of the integrations, none where the key may not see them."""
    try:
        found = await api.get("/integrations")
    except RefusedError:
        return []
    return [integration["unique_key"] for integration in found["data"]]


async def _timeline(api: Api, run_id: str, *, whole: bool) -> dict[str, Any] | None:
    """Return the steps of a run, None where Temporal does not tell any more."""
    query = {"all": "true"} if whole else {}
    try:
        found: dict[str, Any] = await api.get(path_of("runs", run_id, "timeline"), query)
    except RefusedError as refusal:
        if refusal.status == 401:
            raise
        return None
    return found


async def _source(api: Api, run: Mapping[str, Any]) -> str | None:
    """Return the script's file in which a run failed, where it can be shown."""
    if not (run["error"] or {}).get("file"):
        return None
    try:
        found = await api.get(path_of("runs", run["id"], "source"))
    except RefusedError:
        return None
    return str(found["content"])
