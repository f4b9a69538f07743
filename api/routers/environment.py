"""The environment that the caller's key opens."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path

from activities.action_turns import let_in
from api.dependencies import Caller, Deps
from api.schemas.base import Success
from api.schemas.environment import (
    EnvironmentChange,
    EnvironmentVariable,
    EnvironmentView,
    VariableName,
    VariableValue,
)
from api.temporal import temporal_answers
from perdure.errors import UnavailableError

__all__ = ["router"]

router = APIRouter(tags=["environment"])


@router.get("/environment")
async def get_environment(deps: Deps, caller: Caller) -> EnvironmentView:
    """Return the environment."""
    return EnvironmentView.of(caller, await deps.database.actions.limits(caller.id))


@router.patch("/environment")
async def change_environment(
    deps: Deps, caller: Caller, body: EnvironmentChange
) -> EnvironmentView:
    """Change the environment; it counts from the next run on."""
    if body.validation is not None:
        caller = await deps.database.environments.set_validation(caller.id, body.validation)
    limits = await deps.database.actions.limits(caller.id)
    wanted = (body.action_limit, body.connection_action_limit)
    if any(wanted):
        limits = await deps.database.actions.set_limits(
            caller.id, environment=wanted[0], connection=wanted[1]
        )
        # Those that wait hear of it now, or by themselves if Temporal is away.
        with suppress(UnavailableError):
            async with temporal_answers():
                await let_in(deps.database, deps.temporal, caller.id)
    return EnvironmentView.of(caller, limits)


@router.get("/environment-variables")
async def list_environment_variables(deps: Deps, caller: Caller) -> list[EnvironmentVariable]:
    """Return the variables of the environment by name, with their values."""
    variables = await deps.database.variables.all(caller.id)
    return [EnvironmentVariable(name=name, value=value) for name, value in variables.items()]


@router.put("/environment-variables/{name}")
async def set_environment_variable(
    deps: Deps, caller: Caller, name: Annotated[VariableName, Path()], body: VariableValue
) -> Success:
    """Set a variable; scripts that ask for the variables from now on get it."""
    await deps.database.variables.set(caller.id, name, body.value)
    return Success()


@router.delete("/environment-variables/{name}")
async def delete_environment_variable(deps: Deps, caller: Caller, name: str) -> Success:
    """Delete a variable."""
    await deps.database.variables.delete(caller.id, name)
    return Success()
