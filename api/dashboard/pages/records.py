"""Records of connections, as the application reads them."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.pages.runs import integration_keys
from api.dashboard.rendering import Page
from api.dashboard.visit import Visitor
from perdure.ids import BASE_VARIANT

__all__ = ["router"]

_FILTERS = ("added", "updated", "deleted")
_PAGE = 50

router = APIRouter(prefix="/records")


@router.get("")
async def show_record_sets(visit: Visitor) -> Response:
    """Show which records there are, by sync and model."""

    async def build() -> Page:
        integration = visit.query.get("integration") or None
        connection = visit.query.get("connection") or None
        query = {
            "integration": integration,
            "connection": connection,
            "cursor": visit.query.get("cursor") or None,
            "limit": _PAGE,
        }
        found, integrations = await asyncio.gather(
            visit.api.get("/record-sets", query), integration_keys(visit.api)
        )
        values = {
            "sets": found["sets"],
            "next_cursor": found["next_cursor"],
            "integrations": integrations,
            "wanted": {"integration": integration, "connection": connection},
        }
        return Page("record_sets.html", "Records", values)

    return await visit.show(build)


@router.get("/{integration}/{connection_id}/{model}")
async def show_records(
    visit: Visitor, integration: str, connection_id: str, model: str
) -> Response:
    """Show the records of a model, in the order of their latest change."""
    variant = visit.query.get("variant") or BASE_VARIANT

    async def build() -> Page:
        headers = {"connection-id": connection_id, "provider-config-key": integration}
        wanted: dict[str, Any] = {
            "filter": visit.query.get("filter") or None,
            "ids": visit.query.get("id") or None,
            "cursor": visit.query.get("cursor") or None,
        }
        query = {"model": model, "variant": variant, "limit": _PAGE, **wanted}
        found = await visit.api.get("/records", query, headers)
        values = {
            "records": [_shown(record) for record in found["records"]],
            "next_cursor": found["next_cursor"],
            "integration": integration,
            "connection_id": connection_id,
            "model": model,
            "variant": variant,
            "wanted": wanted,
            "filters": _FILTERS,
        }
        return Page("records.html", model, values)

    return await visit.show(build)


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    metadata = record["_nango_metadata"]
    payload = {name: value for name, value in record.items() if name != "_nango_metadata"}
    texts = (
        f"{name}: {value}"
        for name, value in payload.items()
        if name != "id" and isinstance(value, str | int | float) and value not in ("", None)
    )
    return {
        "id": record.get("id"),
        "payload": payload,
        "metadata": metadata,
        "summary": ", ".join(texts)[:160],
        "action": str(metadata.get("last_action", "")).lower(),
    }
