"""What was done to environments, and with which key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import CallerAccess, Deps
from api.schemas.keys import AuditEventView, AuditList
from perdure.records.cursor import decode_cursor, encode_cursor

__all__ = ["router"]

router = APIRouter(tags=["environment"])


@router.get("/audit")
async def list_audit_events(
    deps: Deps,
    caller: CallerAccess,
    *,
    act: str | None = None,
    every: Annotated[
        bool, Query(alias="all", description="Of all environments; needs account:audit:read.")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> AuditList:
    """Return administrative acts with keys of the environment, newest first."""
    if every:
        caller.require("account:audit:read")
    found = await deps.database.audit.list(
        None if every else caller.environment_id,
        act=act,
        before=None if cursor is None else decode_cursor(cursor),
        limit=limit + 1,
    )
    return AuditList(
        data=[AuditEventView.of(event) for event in found[:limit]],
        next_cursor=encode_cursor(found[limit - 1].id) if len(found) > limit else None,
    )
