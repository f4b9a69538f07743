"""The logs of all runs, searched."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.pages.runs import integration_keys
from api.dashboard.rendering import Page
from api.dashboard.visit import Visitor
from perdure.clock import utcnow

__all__ = ["router"]

_LEVELS = {"debug": None, "info": ["info", "warn", "error"], "warn": ["warn", "error"]}
_LEVELS_SHOWN = ("info", "warn", "error")
_SPANS = {
    "15 minutes": timedelta(minutes=15),
    "1 hour": timedelta(hours=1),
    "1 day": timedelta(days=1),
    "7 days": timedelta(days=7),
}
_FILTERS = ("text", "integration", "connection_id", "script", "run_id")

router = APIRouter(prefix="/logs")


@router.get("")
async def search_logs(visit: Visitor) -> Response:
    """Show lines, the newest first."""

    async def build() -> Page:
        wanted = {name: visit.query.get(name) or None for name in _FILTERS}
        level = visit.query.get("level") or None
        span = visit.query.get("span") or None
        since = (utcnow() - _SPANS[span]).isoformat() if span in _SPANS else None
        query = {
            **wanted,
            "level": _LEVELS.get(level or "debug", [level] if level else None),
            "since": since,
            "cursor": visit.query.get("cursor") or None,
        }
        found, integrations = await asyncio.gather(
            visit.api.get("/logs", query), integration_keys(visit.api)
        )
        values = {
            "logs": found["logs"],
            "next_cursor": found["next_cursor"],
            "back_to": found["back_to"],
            "wanted": {**wanted, "level": level, "span": span},
            "integrations": integrations,
            "levels": _LEVELS_SHOWN,
            "spans": list(_SPANS),
        }
        return Page("logs.html", "Logs", values)

    return await visit.show(build)
