"""The environment that the caller's key opens."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import Caller, Deps
from api.schemas.environment import EnvironmentChange, EnvironmentView

__all__ = ["router"]

router = APIRouter(tags=["environment"])


@router.get("/environment")
async def get_environment(caller: Caller) -> EnvironmentView:
    """Return the environment."""
    return EnvironmentView.of(caller)


@router.patch("/environment")
async def change_environment(
    deps: Deps, caller: Caller, body: EnvironmentChange
) -> EnvironmentView:
    """Change the environment; it counts from the next run on."""
    if body.validation is not None:
        caller = await deps.database.environments.set_validation(caller.id, body.validation)
    return EnvironmentView.of(caller)
