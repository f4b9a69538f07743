"""Actions: a call becomes a run, and the run is completed whether or not the caller waits."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Mapping
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Response
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from activities.actions import action_context, declared_action
from activities.bundles import script_files
from activities.outcomes import failed_outcome
from activities.runs import log_level_of, run_start
from api.background import AppTasks
from api.dependencies import Background, Caller, Dependencies, Deps
from api.errors import ApiError
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from api.schemas.actions import ActionCall
from api.temporal import start_workflow
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.db.runs import RunStatus
from perdure.errors import FieldError, InvalidInputError, UnavailableError
from perdure.ids import action_workflow_id
from perdure.records.canonical import to_json
from perdure.scripts.bundle import ScriptKind
from perdure.temporal.client import unavailable
from perdure.temporal.names import WorkflowType, search_attributes
from perdure.temporal.payloads import ActionInput, ActionResult, HistoryLimits, RunContext

__all__ = ["AsyncHeader", "answer_action", "router"]

router = APIRouter(tags=["actions"])

log = structlog.get_logger(__name__)

AsyncHeader = Annotated[bool, Header(alias="x-async", include_in_schema=False)]
"""Whether the caller does not want to wait."""

_INVALID = frozenset({"invalid_action_input", "invalid_action_output"})


@router.post(
    "/action/trigger",
    response_class=Response,
    responses={
        200: {"description": "What the action returned.", "content": {"application/json": {}}}
    },
)
async def trigger_action(
    deps: Deps,
    caller: Caller,
    *,
    background: Background,
    body: ActionCall,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    is_async: AsyncHeader = False,
) -> Response:
    """Run an action and return what it returns. It goes on when the caller hangs up."""
    connection = await deps.database.connections.get(caller.id, integration, connection_id)
    return await answer_action(
        deps,
        caller,
        background,
        connection,
        name=body.action_name,
        value=body.input,
        is_async=is_async,
    )


async def answer_action(
    deps: Dependencies,
    caller: Environment,
    background: AppTasks,
    connection: Connection,
    *,
    name: str,
    value: Any,
    is_async: bool,
) -> Response:
    """Run an action for a connection and return the answer with what it returns.

    Args:
        deps: What the process is made of.
        caller: The environment.
        background: Waits for the action when the caller hangs up.
        connection: For whom it runs.
        name: Name of the action.
        value: Its input.
        is_async: Whether the caller does not want to wait.

    Raises:
        InvalidInputError: `invalid_headers`, it has to be waited for.
        NotFoundError: The integration has no such action.
        ApiError: The action failed.
        UnavailableError: It could not be started.
    """
    if is_async:
        msg = "Actions are awaited; leave the header X-Async out."
        field = FieldError("unsupported", msg, ("x-async",))
        raise InvalidInputError(msg, code="invalid_headers", errors=[field])
    integration, connection_id = connection.integration, connection.connection_id
    bundle, action = await declared_action(deps.bundles, caller.active_bundle, integration, name)
    context = action_context(
        caller,
        connection,
        bundle.hash,
        action,
        workflow_id=action_workflow_id(caller.name, str(uuid.uuid4())),
        log_level=await log_level_of(deps.database, caller.id),
        history=HistoryLimits(max_events=deps.settings.temporal_history_events),
    )
    handle = await start_workflow(
        deps.temporal,
        WorkflowType.ACTION,
        ActionInput(context=context, input=value),
        script_files(bundle, integration, ScriptKind.ACTION, name),
        workflow_id=context.workflow_id,
        summary=f"{integration} / {name} for {connection_id}",
        attributes=search_attributes(
            WorkflowType.ACTION,
            caller.name,
            integration=integration,
            connection_id=connection_id,
            script=name,
            bundle=bundle.hash,
        ),
        result_type=ActionResult,
    )
    context = context.model_copy(update={"run_id": handle.result_run_id or ""})
    result = await asyncio.shield(background.start(_completed(deps, handle, context)))
    return Response(to_json(result.output), media_type="application/json")


async def _completed(
    deps: Dependencies, handle: WorkflowHandle[Any, ActionResult], context: RunContext
) -> ActionResult:
    """Wait for an action that has been started, and keep its record."""
    runs = deps.database.runs
    await _recorded(runs.start(run_start(context)), context)
    try:
        result = await handle.result()
    except WorkflowFailureError as failure:
        outcome = failed_outcome(failure)
        await _recorded(
            runs.finish(context.run_id, outcome.status, finished_at=utcnow(), error=outcome.error),
            context,
        )
        raise _failed(outcome.error) from failure
    except (RPCError, RuntimeError) as error:
        if unavailable(error) is None:
            raise
        # Not an answer that invites to try again: that would be a second action.
        msg = f"Temporal went away while the action ran; it goes on as run {context.run_id}."
        facts = {"run_id": context.run_id}
        raise ApiError(504, "action_result_unknown", msg, payload=facts) from error
    await _recorded(runs.finish(context.run_id, RunStatus.SUCCESS, finished_at=utcnow()), context)
    return result


async def _recorded(write: Awaitable[object], context: RunContext) -> None:
    # What the action did is done: its caller hears of it even if we cannot write it down, and
    # whoever looks at the run later finds out from Temporal.
    try:
        await write
    except UnavailableError as error:
        log.warning("run_not_recorded", run_id=context.run_id, code=error.code)


def _failed(error: Mapping[str, Any] | None) -> ApiError:
    if error is None:
        return ApiError(500, "run_cancelled", "The run was cancelled.")
    code, message = error["type"], error["message"]
    if code in _INVALID:
        return ApiError(400, code, message)
    if code != "script_http_error":
        return ApiError(500, code, message, payload=error.get("payload"))
    upstream = error.get("upstream") or {}
    return ApiError(424, code, message, payload=upstream.get("body"), upstream=upstream or None)
