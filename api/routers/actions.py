"""Actions: a call becomes a run, and the run is completed whether or not the caller waits."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response

from activities.actions import declared_action
from api.action_calls import (
    ACTION_ID_HEADER,
    CalledAction,
    CallOptions,
    action_result,
    await_action,
    call_facts,
    start_action,
)
from api.background import AppTasks
from api.dependencies import (
    Background,
    Caller,
    CallerAccess,
    Dependencies,
    Deps,
    environment_of,
)
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from api.schemas.actions import ActionCall, ActionRef, StartedActionView
from api.schemas.base import ErrorEnvelope, Success
from perdure.db.environments import Environment
from perdure.errors import FieldError, InvalidInputError
from perdure.ids import action_status_url
from perdure.records.canonical import to_json

__all__ = ["Options", "answer_call", "router"]

router = APIRouter(tags=["actions"])


async def _options(
    *,
    is_async: Annotated[bool, Header(alias="x-async")] = False,
    max_retries: Annotated[int, Header(alias="x-max-retries", ge=0, le=5)] = 0,
    ordered: Annotated[bool, Header(alias="x-ordered")] = False,
    key: Annotated[
        str | None, Header(alias="idempotency-key", min_length=1, max_length=255)
    ] = None,
) -> CallOptions:
    if ordered and not is_async:
        msg = "Only actions that nobody waits for are ordered; send X-Async: true as well."
        field = FieldError("unsupported", msg, ("x-ordered",))
        raise InvalidInputError(msg, code="invalid_headers", errors=[field])
    return CallOptions(is_async, max_retries, ordered, key)


Options = Annotated[CallOptions, Depends(_options)]
"""How an action is called, as headers say it."""


@router.post(
    "/action/trigger",
    response_class=Response,
    responses={
        200: {"description": "What the action returned.", "content": {"application/json": {}}},
        202: {"description": "It will be completed.", "model": StartedActionView},
        500: {"description": "The action raised an error.", "model": ErrorEnvelope},
        504: {"description": "It takes longer than its caller waits.", "model": ErrorEnvelope},
    },
)
async def trigger_action(
    request: Request,
    deps: Deps,
    access: CallerAccess,
    *,
    background: Background,
    body: ActionCall,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    options: Options,
) -> Response:
    """Run an action and return what it returns, or with `X-Async` where to ask for it."""
    facts = await call_facts(
        deps, access.environment_id, integration, connection_id, body.action_name
    )
    if facts is not None:
        caller, connection = facts.environment, facts.connection
    else:
        # One of these says what there is not.
        caller = await environment_of(request)
        connection = await deps.database.connections.get(caller.id, integration, connection_id)
    call = CalledAction(connection, body.action_name, body.input, options, facts)
    return await answer_call(deps, caller, background, call)


@router.get(
    "/action/{action_id}",
    response_class=Response,
    responses={
        200: {"description": "What the action returned.", "content": {"application/json": {}}},
        500: {"description": "The action raised an error.", "model": ErrorEnvelope},
    },
)
async def get_action_result(deps: Deps, caller: Caller, action_id: UUID) -> Response:
    """Return what an action returned, by its id; 404 until it has ended."""
    result = await action_result(deps, caller, str(action_id))
    return Response(to_json(result.output), media_type="application/json")


@router.post("/action/disable")
async def disable_action(deps: Deps, caller: Caller, body: ActionRef) -> Success:
    """Refuse calls of an action from now on; runs under way go on."""
    await _declared(deps, caller, body)
    await deps.database.actions.disable(caller.id, body.provider_config_key, body.action_name)
    return Success()


@router.post("/action/enable")
async def enable_action(deps: Deps, caller: Caller, body: ActionRef) -> Success:
    """Take calls of an action again."""
    await _declared(deps, caller, body)
    await deps.database.actions.enable(caller.id, body.provider_config_key, body.action_name)
    return Success()


async def answer_call(
    deps: Dependencies, caller: Environment, background: AppTasks, call: CalledAction
) -> Response:
    """Call an action and return the answer: what it returns, or where to ask for that.

    Args:
        deps: What the process is made of.
        caller: The environment.
        background: Waits for the action when the caller hangs up.
        call: What is called.

    Raises:
        PerdureError: As `start_action` and `await_action`.
    """
    started = await start_action(deps, caller, call)
    headers = {ACTION_ID_HEADER: started.id}
    if call.options.is_async:
        status_url = action_status_url(started.id)
        view = StartedActionView(id=started.id, statusUrl=status_url)
        headers["location"] = status_url
        return Response(to_json(view.model_dump()), 202, headers, "application/json")
    result = await await_action(deps, background, started)
    return Response(to_json(result.output), 200, headers, "application/json")


async def _declared(deps: Dependencies, caller: Environment, action: ActionRef) -> None:
    await declared_action(
        deps.bundles, caller.active_bundle, action.provider_config_key, action.action_name
    )
