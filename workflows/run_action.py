"""The `action` workflow: one call of one action."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from perdure.nango import HelperError
    from perdure.temporal import policies
    from perdure.temporal.failures import HISTORY_LIMIT
    from perdure.temporal.names import PROGRESS_QUERY, TURN_SIGNAL, WorkflowType
    from perdure.temporal.payloads import (
        ActionInput,
        ActionResult,
        RunContext,
        RunProgress,
        ScriptFiles,
    )
    from workflows.action_record import DryRunRecord, QueuedActionRecord
    from workflows.nango import DurableAction
    from workflows.run_record import RunRecord
    from workflows.scripts import EntryPoint, as_json, load_entry_point, script_border
    from workflows.steps import shortened
    from workflows.supervision import StartAgain, supervised, to_the_end
    from workflows.time_limit import TimeLimit, within
    from workflows.validation import Validation

__all__ = ["RunAction"]

_LARGEST_OUTPUT = 2 * 1024 * 1024
# What would come out the same however often it is tried.
_LASTING = frozenset(
    {
        "entry_point_invalid",
        "entry_point_missing",
        "forbidden_in_script",
        HISTORY_LIMIT,
        "invalid_action_input",
        "output_too_large",
        "script_import_error",
        "script_syntax_error",
    }
)


@workflow.defn(name=WorkflowType.ACTION)
class RunAction:
    """Executes an action's script and returns what it returns.

    The script's files come with the call, and whoever started it notes the run, unless the call
    says otherwise: then the workflow costs no step of its own.
    """

    def __init__(self) -> None:
        self._nango: DurableAction | None = None
        self._has_turn = False
        self._retries_left = 0

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """Say how far the run is."""
        return self._nango.progress.snapshot() if self._nango else RunProgress()

    @workflow.signal(name=TURN_SIGNAL)
    def turn(self) -> None:
        """Let the action run that waits for its turn."""
        self._has_turn = True

    @workflow.run
    async def run(self, call: ActionInput, script: ScriptFiles) -> ActionResult:
        """Run the action once.

        Raises:
            ScriptError: Input or output do not fit their models, or the script failed; the
                failure names its file and line.
        """
        # The run keeps its id, and may be given another script, where it is retried.
        own = {"run_id": workflow.info().first_execution_run_id, "bundle": script.bundle}
        context = call.context.model_copy(update=own)
        priority = Priority(fairness_key=f"{context.environment}/{context.connection_id}"[:64])
        limit = policies.limit_of(context.retry_limit, policies.ACTION_LIMIT)
        self._nango = nango = DurableAction(context, limit=limit, priority=priority)
        self._retries_left = call.max_retries
        if call.sealed:
            nango.secrets.learn(call.input)
        record = self._record(call, context, nango, priority)
        allowed = TimeLimit(context, priority, call.began_at)
        try:
            if call.state is not None:
                nango.resume(call.state)
            if record is not None and (call.state is None or context.dry_run):
                await record.start()
            allowed.begin()
            execution = self._attempts(context, nango, script, call.input)
            output = await within(allowed, execution, nango, script.path)
        except StartAgain:
            carried = {
                "state": nango.state(),
                "max_retries": self._retries_left,
                "began_at": allowed.began_at,
            }
            workflow.continue_as_new(args=[call.model_copy(update=carried), script])
        except (Exception, asyncio.CancelledError) as error:
            await to_the_end(_end(nango, record, error))
            raise
        await to_the_end(_end(nango, record, None))
        return ActionResult(output=output, sealed=nango.secrets.within(output))

    def _record(
        self, call: ActionInput, context: RunContext, nango: DurableAction, priority: Priority
    ) -> RunRecord | None:
        if call.keeps_record and context.dry_run:
            return DryRunRecord(context, priority, nango.state)
        if call.queued:
            return QueuedActionRecord(
                context, priority, ordered=call.ordered, has_turn=lambda: self._has_turn
            )
        return RunRecord(context, priority) if call.keeps_record else None

    async def _attempts(
        self, context: RunContext, nango: DurableAction, script: ScriptFiles, value: Any
    ) -> Any:
        """Run the script, and again from its beginning as often as its caller allows."""
        attempt = 1
        while True:
            try:
                return await supervised(
                    self._execute(context, nango, script, value), nango, script.path
                )
            except ApplicationError as error:
                if not self._retries_left or error.type in _LASTING:
                    raise
                reason = error.message
            self._retries_left -= 1
            wait = policies.backoff(attempt)
            attempt += 1
            await nango.warn(f"{reason} The script is run again in {wait.total_seconds():g} s.")
            with nango.progress.waiting(reason, workflow.now() + wait, attempt):
                await workflow.sleep(wait, summary=shortened(f"wait before attempt {attempt}"))
            nango.begin_again()

    async def _execute(
        self, context: RunContext, nango: DurableAction, script: ScriptFiles, value: Any
    ) -> Any:
        with script_border(script, nango.secrets):
            validation = nango.validation = Validation(context, script, nango.warn)
            action = load_entry_point(script, "run_action")
            await validation.check(context.input, value, what="input", code="invalid_action_input")
            output, size = as_json(await _call(action, nango, value))
            if size > _LARGEST_OUTPUT:
                msg = (
                    f"The action returned {size / 1024:,.0f} KiB of JSON; at most "
                    f"{_LARGEST_OUTPUT // 1024:,} KiB are possible. Return less of it, in pages."
                )
                raise HelperError(msg, code="output_too_large")
            await validation.check(
                context.output, output, what="output", code="invalid_action_output"
            )
            return output


async def _end(nango: DurableAction, record: RunRecord | None, error: BaseException | None) -> None:
    try:
        await nango.end()
    except ActivityError as failed:
        # Lost log lines are no reason to lose how the run ended.
        workflow.logger.warning("log lines were not written", exc_info=failed)
    if record is not None:
        await record.finish(error)


async def _call(action: EntryPoint, nango: DurableAction, value: Any) -> Any:
    """Call the script; one that needs no input may leave the parameter out."""
    if len(inspect.signature(action).parameters) == 1:
        return await action(nango)
    return await action(nango, value)
