"""API keys of the caller's environment."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api.dependencies import CallerAccess, Deps, Keys
from api.errors import ApiError
from api.schemas.base import Success
from api.schemas.keys import ApiKeyList, ApiKeyView, NewApiKey, ShownApiKey
from api.scopes import EVERYTHING, expand

__all__ = ["router"]

router = APIRouter(tags=["environment"])


@router.get("/environment/api-keys")
async def list_api_keys(
    deps: Deps,
    caller: CallerAccess,
    revoked: Annotated[bool, Query(description="Those that open nothing any more, too.")] = False,
) -> ApiKeyList:
    """Return the keys of the environment, newest first; the keys themselves nobody knows."""
    keys = await deps.database.api_keys.list(caller.environment_id, with_revoked=revoked)
    return ApiKeyList(data=[ApiKeyView.of(key) for key in keys])


@router.post("/environment/api-keys", status_code=201)
async def create_api_key(deps: Deps, caller: CallerAccess, body: NewApiKey) -> ShownApiKey:
    """Make a key and show it, this once."""
    if EVERYTHING in body.scopes and not caller.may_everything:
        caller.require(EVERYTHING)
    if not caller.covers(expand(body.scopes)):
        missing = sorted(expand(body.scopes) - caller.scopes)
        msg = f"A key can only hand on what it has; {caller.key_name!r} lacks {missing[0]}."
        raise ApiError(403, "forbidden", msg)
    key, shown = await deps.database.api_keys.create(
        caller.environment_id, body.name, body.scopes, expires_at=body.expires_at
    )
    return ShownApiKey.with_key(key, shown)


@router.delete("/environment/api-keys/{key_id}")
async def revoke_api_key(
    request: Request, deps: Deps, caller: CallerAccess, keys: Keys, key_id: UUID
) -> Success:
    """Have a key open nothing any more; other API processes know within a second."""
    revoked = await deps.database.api_keys.revoke(caller.environment_id, key_id)
    request.state.audit_subject = revoked.name
    keys.forget()
    return Success()
