"""Calls of actions: they are started once, waited for or not, and their results are read.

What callers know of an action is its id, a UUID, from which its workflow's id follows. A call
with an idempotency key has an id that follows from the key: however often it is made, whoever
answers it and whenever, it is one run with one result.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.actions import (
    action_context,
    declared_action,
    disabled_action,
    refuse_disabled,
)
from activities.bundles import script_files
from activities.outcomes import failed_outcome
from activities.run_counts import count_end
from activities.runs import LOG_LEVEL_VARIABLE, as_log_level, log_level_of, run_start
from api.background import AppTasks
from api.dependencies import Dependencies
from api.errors import ApiError
from api.temporal import RPC_TIMEOUT, SilentError, start_workflow, temporal_answers
from perdure.clock import utcnow
from perdure.db.action_calls import ActionCallFacts
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.db.runs import RunStatus
from perdure.errors import ConflictError, NotFoundError, PerdureError, UnavailableError
from perdure.ids import (
    ConnectionKey,
    EnvironmentId,
    action_status_url,
    action_workflow_id,
    keyed_action_id,
)
from perdure.nango import LoggerLevel
from perdure.records.canonical import canonical_hash
from perdure.scripts.bundle import ScriptKind
from perdure.temporal.client import unavailable
from perdure.temporal.names import WorkflowType, search_attributes
from perdure.temporal.payloads import ActionInput, ActionResult, HistoryLimits, RunContext

__all__ = [
    "ACTION_ID_HEADER",
    "CallOptions",
    "CalledAction",
    "StartedAction",
    "action_result",
    "await_action",
    "call_facts",
    "start_action",
]

ACTION_ID_HEADER = "x-action-id"
"""Header of an answer: id of the action that was called."""

# What is left to actions that are waited for when the process ends, in which it must still answer.
_LAST_SECONDS = 3.0

# An action that is about to end has been told of, and may be asked for at once.
_ENDING = timedelta(seconds=10)

_INVALID = frozenset({"invalid_action_input", "invalid_action_output"})

ResultT = TypeVar("ResultT")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How an action is called.

    Attributes:
        is_async: Whether the caller does not wait.
        max_retries: How often its script may be run again from its beginning; of one that nobody
            waits for.
        ordered: Whether it waits until the connection's earlier ordered ones have ended; likewise.
        key: The caller's idempotency key, None where there is none.
    """

    is_async: bool = False
    max_retries: int = 0
    ordered: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class CalledAction:
    """A call.

    Attributes:
        connection: For whom it runs.
        name: Name of the action.
        input: Its input.
        options: How it is called.
        facts: What was read along with the connection, None where that is still to be read.
    """

    connection: Connection
    name: str
    input: Any
    options: CallOptions = CallOptions()
    facts: ActionCallFacts | None = None


@dataclass(frozen=True, slots=True)
class StartedAction:
    """An action that will be completed.

    Attributes:
        id: By which callers know it.
        handle: Its workflow.
        context: The run, where its record is kept by whoever waits for it.
        has_key: Whether a call that is repeated finds it.
    """

    id: str
    handle: WorkflowHandle[Any, ActionResult]
    context: RunContext | None = None
    has_key: bool = False


async def call_facts(
    deps: Dependencies,
    environment_id: EnvironmentId,
    integration: str,
    connection_id: str,
    name: str,
) -> ActionCallFacts | None:
    """Read all that a call meets at once; None where there is no such connection."""
    return await deps.database.action_calls.facts(
        environment_id, integration, connection_id, name, variable=LOG_LEVEL_VARIABLE
    )


async def start_action(
    deps: Dependencies, caller: Environment, call: CalledAction
) -> StartedAction:
    """Start an action, or find the one that a call with the same key has started.

    Args:
        deps: What the process is made of.
        caller: The environment.
        call: What is called.

    Raises:
        NotFoundError: The integration has no such action, or it is disabled.
        ConflictError: `idempotency_key_reused`, `connection_being_deleted`.
        UnavailableError: It could not be started.
        ApiError: 504, whether it was started is not known, and it has no key to ask again with.
    """
    key, connection = call.options.key, call.connection
    connection.refuse_deleting()
    if key is None:
        return await _start(deps, caller, call, str(uuid.uuid4()))
    action_id = keyed_action_id(connection.integration, connection.connection_id, key)
    fingerprint = canonical_hash([call.name, call.input])
    actions = deps.database.actions
    first = await actions.fingerprint(caller.id, action_id)
    if first is None:
        # What is refused leaves the key to the call that is right.
        await declared_action(deps.bundles, caller.active_bundle, connection.integration, call.name)
        await _refuse_disabled(deps, caller, call)
        first = await actions.claim_key(caller.id, action_id, fingerprint)
    if first is not None:
        if first != fingerprint:
            msg = (
                "This idempotency key came with another action or input before; "
                "a new call needs a key of its own."
            )
            raise ConflictError(msg, code="idempotency_key_reused")
        known = await _known(deps, caller, str(action_id))
        if known is not None:
            return known
    return await _start(deps, caller, call, str(action_id))


async def await_action(
    deps: Dependencies, background: AppTasks, started: StartedAction
) -> ActionResult:
    """Wait for an action and return what it returned; it goes on when its caller hangs up.

    Raises:
        ApiError: It failed, or Temporal or this process went away meanwhile.
    """
    waiting = background.start(_completed(deps, started))
    if not await background.until_done_or_ending(waiting, _LAST_SECONDS):
        raise _went_away(started, "This process ends")
    return await waiting


async def action_result(deps: Dependencies, caller: Environment, action_id: str) -> ActionResult:
    """Return what an action returned.

    Raises:
        NotFoundError: There is no such action, or it has not ended.
        ApiError: It failed, or its result is kept no longer.
        UnavailableError: Temporal does not answer.
    """
    workflow_id = action_workflow_id(caller.name, action_id)
    handle = deps.temporal.get_workflow_handle(workflow_id, result_type=ActionResult)
    run = await deps.database.runs.of_workflow(workflow_id)
    async with temporal_answers():
        status = await _status(handle)
    if status is None:
        if run is None:
            msg = f"There is no action {action_id!r} in this environment."
            raise NotFoundError(msg)
        raise _forgotten(action_id, run.status, run.error)
    if status is WorkflowExecutionStatus.RUNNING and (run is None or run.finished_at is None):
        raise _pending(action_id)
    try:
        async with temporal_answers(_ENDING):
            result: ActionResult = await handle.result()
    except WorkflowFailureError as failure:
        raise _failed(action_id, failed_outcome(failure).error) from failure
    except UnavailableError as error:
        if status is WorkflowExecutionStatus.RUNNING:
            raise _pending(action_id) from error
        raise
    return result


async def _start(
    deps: Dependencies, caller: Environment, call: CalledAction, action_id: str
) -> StartedAction:
    connection, name, options = call.connection, call.name, call.options
    integration = connection.integration
    bundle, action = await declared_action(deps.bundles, caller.active_bundle, integration, name)
    _, log_level = await asyncio.gather(
        _refuse_disabled(deps, caller, call), _log_level(deps, caller, call)
    )
    context = action_context(
        caller,
        connection,
        bundle.hash,
        action,
        workflow_id=action_workflow_id(caller.name, action_id),
        log_level=log_level,
        history=HistoryLimits(max_events=deps.settings.temporal_history_events),
    )
    # Who waits notes the run for it; what is to be found by its key is noted by the run itself.
    is_noted_here = not options.is_async and options.key is None
    try:
        handle = await start_workflow(
            deps.temporal,
            WorkflowType.ACTION,
            ActionInput(
                context=context,
                input=call.input,
                keeps_record=not is_noted_here,
                queued=options.is_async,
                ordered=options.is_async and options.ordered,
                max_retries=options.max_retries if options.is_async else 0,
            ),
            script_files(bundle, integration, ScriptKind.ACTION, name),
            workflow_id=context.workflow_id,
            summary=f"{integration} / {name} for {connection.connection_id}",
            attributes=search_attributes(
                WorkflowType.ACTION,
                caller.name,
                integration=integration,
                connection_id=connection.connection_id,
                script=name,
                bundle=bundle.hash,
            ),
            result_type=ActionResult,
            once=True,
        )
    except SilentError as error:
        if options.key is not None:
            raise
        msg = f"Temporal did not answer. If the action was started, it goes on as {action_id}."
        raise _unknown(action_id, msg, has_key=False) from error
    if options.is_async and options.ordered:
        await _enter(deps, context)
    started = StartedAction(action_id, handle, has_key=options.key is not None)
    if is_noted_here:
        run_id = {"run_id": handle.result_run_id or ""}
        return replace(started, context=context.model_copy(update=run_id))
    return started


async def _refuse_disabled(deps: Dependencies, caller: Environment, call: CalledAction) -> None:
    integration = call.connection.integration
    if call.facts is None:
        await refuse_disabled(deps.database, caller.id, integration, call.name)
    elif call.facts.is_disabled:
        raise disabled_action(integration, call.name)


async def _log_level(deps: Dependencies, caller: Environment, call: CalledAction) -> LoggerLevel:
    if call.facts is None:
        return await log_level_of(deps.database, caller.id)
    return as_log_level(call.facts.variable)


async def _known(deps: Dependencies, caller: Environment, action_id: str) -> StartedAction | None:
    """Return the action that was called before; None where it was never started.

    Raises:
        ApiError: It has ended, and Temporal has forgotten how.
    """
    workflow_id = action_workflow_id(caller.name, action_id)
    handle = deps.temporal.get_workflow_handle(workflow_id, result_type=ActionResult)
    # Before Temporal is asked: a run that begins in between is not one that was forgotten.
    run = await deps.database.runs.of_workflow(workflow_id)
    waiting: RunContext | None = None
    async with temporal_answers():
        status = await _status(handle)
        if status is WorkflowExecutionStatus.RUNNING and run is None:
            waiting = await _ordered(deps, handle)
    if waiting is not None:
        # Whoever started it may have died before he could, and then ordered actions that are called
        # after this answer would come before it.
        await _enter(deps, waiting)
    if status is not None:
        return StartedAction(action_id, handle, has_key=True)
    if run is not None:
        raise _forgotten(action_id, run.status, run.error)
    return None


async def _ordered(deps: Dependencies, handle: WorkflowHandle[Any, Any]) -> RunContext | None:
    """Return the context of an ordered action that has not begun, None of another one."""
    async for event in handle.fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads[:1]
        call: ActionInput
        (call,) = await deps.temporal.data_converter.decode(payloads, [ActionInput])
        return call.context if call.queued and call.ordered else None
    return None


async def _enter(deps: Dependencies, context: RunContext) -> None:
    # The order is that of the answers, whichever workflow begins first.
    await deps.database.action_queue.enter(
        context.workflow_id,
        EnvironmentId(context.environment_id),
        ConnectionKey(context.connection_key),
        ordered=True,
    )


async def _status(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus | None:
    try:
        return (await handle.describe(rpc_timeout=RPC_TIMEOUT)).status
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise


async def _completed(deps: Dependencies, started: StartedAction) -> ActionResult:
    """Wait for an action that has been started, and keep its record."""
    runs, context = deps.database.runs, started.context
    try:
        result = await _result(deps, started)
    except WorkflowFailureError as failure:
        outcome = failed_outcome(failure)
        if context is not None:
            end = runs.note_end(
                context.run_id, outcome.status, finished_at=utcnow(), error=outcome.error
            )
            count_end(await _recorded(end, context))
        raise _failed(started.id, outcome.error) from failure
    except (RPCError, RuntimeError) as error:
        if unavailable(error) is None:
            raise
        raise _went_away(started, "Temporal went away") from error
    if context is not None:
        end = runs.note_end(context.run_id, RunStatus.SUCCESS, finished_at=utcnow())
        count_end(await _recorded(end, context))
    return result


async def _result(deps: Dependencies, started: StartedAction) -> ActionResult:
    """Wait for an action's result; its record begins meanwhile, and has begun before that ends."""
    context = started.context
    if context is None:
        return await started.handle.result()
    beginning = asyncio.create_task(
        _recorded(deps.database.runs.start(run_start(context)), context)
    )
    try:
        return await started.handle.result()
    finally:
        await beginning


async def _recorded(write: Awaitable[ResultT], context: RunContext) -> ResultT | None:
    # What the action did is done: its caller hears of it even if we cannot write it down, and
    # whoever looks at the run later finds out from Temporal.
    try:
        return await write
    except UnavailableError as error:
        log.warning("run_not_recorded", run_id=context.run_id, code=error.code)
        return None


def _unknown(action_id: str, message: str, *, has_key: bool) -> ApiError:
    """Say where the result will be.

    Whoever sent a key may call again, and gets the result of this very action. Without one that
    would be a second action, so the answer does not invite to it.
    """
    facts = {"id": action_id, "statusUrl": action_status_url(action_id)}
    headers = {ACTION_ID_HEADER: action_id}
    status = 503 if has_key else 504
    return ApiError(status, "action_result_unknown", message, payload=facts, headers=headers)


def _went_away(started: StartedAction, who: str) -> ApiError:
    msg = f"{who} while the action ran; it goes on as action {started.id}."
    return _unknown(started.id, msg, has_key=started.has_key)


def _pending(action_id: str) -> PerdureError:
    msg = f"The action {action_id} has not ended; ask again."
    return NotFoundError(msg, payload={"status": "running"})


def _forgotten(action_id: str, status: RunStatus, error: Mapping[str, Any] | None) -> ApiError:
    if status is not RunStatus.SUCCESS:
        return _failed(action_id, error)
    msg = f"The action {action_id} has succeeded; what it returned is kept no longer."
    return ApiError(410, "action_result_gone", msg, headers={ACTION_ID_HEADER: action_id})


def _failed(action_id: str, error: Mapping[str, Any] | None) -> ApiError:
    headers = {ACTION_ID_HEADER: action_id}
    if error is None:
        return ApiError(500, "run_cancelled", "The run was cancelled.", headers=headers)
    code, message = error["type"], error["message"]
    if code in _INVALID:
        return ApiError(400, code, message, headers=headers)
    if code != "script_http_error":
        return ApiError(500, code, message, payload=error.get("payload"), headers=headers)
    upstream = error.get("upstream") or {}
    return ApiError(
        424,
        code,
        message,
        payload=upstream.get("body"),
        upstream=upstream or None,
        headers=headers,
    )
