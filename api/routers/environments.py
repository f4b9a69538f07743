"""Environments of the server; what is done here concerns more than the caller's own."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import CallerAccess, Deps, Keys
from api.schemas.base import Success
from api.schemas.keys import (
    EnvironmentList,
    EnvironmentSummary,
    MadeEnvironment,
    NewEnvironment,
    ShownApiKey,
)
from perdure.errors import ConflictError

__all__ = ["router"]

_FIRST_KEY = "default"
_FIRST_SCOPES = ("environment:*",)

router = APIRouter(tags=["environment"])


@router.get("/environments")
async def list_environments(deps: Deps) -> EnvironmentList:
    """Return all environments, oldest first."""
    found = await deps.database.environments.all()
    return EnvironmentList(data=[EnvironmentSummary.of(environment) for environment in found])


@router.post("/environments", status_code=201)
async def create_environment(deps: Deps, body: NewEnvironment) -> MadeEnvironment:
    """Make an environment, and a key that may do everything in it, which is shown this once."""
    database = deps.database
    async with database.transaction() as conn:
        environment = await database.environments.create(body.name, conn=conn)
        key, shown = await database.api_keys.create(
            environment.id, _FIRST_KEY, _FIRST_SCOPES, conn=conn
        )
    return MadeEnvironment(
        **EnvironmentSummary.of(environment).model_dump(), key=ShownApiKey.with_key(key, shown)
    )


@router.delete("/environments/{name}")
async def delete_environment(deps: Deps, caller: CallerAccess, keys: Keys, name: str) -> Success:
    """Delete an environment without connections, with its keys and all else that belongs to it."""
    if name == caller.environment:
        msg = (
            f"The key that asks for it belongs to {name!r} itself; use one of another environment."
        )
        raise ConflictError(msg, code="environment_in_use")
    await deps.database.environments.delete(name)
    keys.forget()
    return Success()
