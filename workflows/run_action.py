"""The `action` workflow: one call of one action."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.runs import FinishRunInput, RunActivities, RunStatus
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.names import PROGRESS_QUERY, WorkflowType
    from perdure.temporal.payloads import (
        ActionInput,
        ActionResult,
        RunContext,
        RunProgress,
        ScriptFiles,
    )
    from workflows.dry_run import begin_dry_run, finish_dry_run
    from workflows.nango import DurableAction
    from workflows.scripts import EntryPoint, as_json, load_entry_point, script_border
    from workflows.steps import run_step
    from workflows.supervision import StartAgain, supervised
    from workflows.validation import Validation

__all__ = ["RunAction"]


@workflow.defn(name=WorkflowType.ACTION)
class RunAction:
    """Executes an action's script and returns what it returns.

    The script's files come with the call, and whoever started it notes the run, unless the call
    says otherwise: then the workflow costs no step of its own.
    """

    def __init__(self) -> None:
        self._nango: DurableAction | None = None

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """Say how far the run is."""
        return self._nango.progress.snapshot() if self._nango else RunProgress()

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
        self._nango = nango = DurableAction(context, limit=policies.ACTION_LIMIT, priority=priority)
        if call.sealed:
            nango.secrets.learn(call.input)
        record = _Record(context, nango, priority) if call.keeps_record else None
        if call.state is not None:
            nango.resume(call.state)
        if record is not None and (call.state is None or context.dry_run):
            await record.start()
        try:
            execution = self._execute(context, nango, script, call.input)
            output = await supervised(execution, nango, script.path)
        except StartAgain:
            again = call.model_copy(update={"state": nango.state()})
            workflow.continue_as_new(args=[again, script])
        except (Exception, asyncio.CancelledError) as error:
            await nango.end()
            if record is not None:
                await record.finish(error)
            raise
        await nango.end()
        if record is not None:
            await record.finish(None)
        return ActionResult(output=output, sealed=nango.secrets.within(output))

    async def _execute(
        self, context: RunContext, nango: DurableAction, script: ScriptFiles, value: Any
    ) -> Any:
        with script_border(script, nango.secrets):
            validation = nango.validation = Validation(context, script, nango.warn)
            action = load_entry_point(script, "run_action")
            await validation.check(context.input, value, what="input", code="invalid_action_input")
            output, _ = as_json(await _call(action, nango, value))
            await validation.check(
                context.output, output, what="output", code="invalid_action_output"
            )
            return output


class _Record:
    """The run's own row, for runs that nobody waits for outside of Temporal."""

    def __init__(self, context: RunContext, nango: DurableAction, priority: Priority) -> None:
        self._context = context
        self._nango = nango
        self._priority = priority

    async def start(self) -> None:
        if self._context.dry_run:
            await begin_dry_run(self._context)
            return
        await run_step(
            RunActivities.start_run,
            self._context,
            summary=f"start {self._context.script} for {self._context.connection_id}",
            policy=policies.BOOKKEEPING,
            priority=self._priority,
        )

    async def finish(self, error: BaseException | None) -> None:
        if self._context.dry_run:
            status = RunStatus.SUCCESS if error is None else RunStatus.FAILED
            if error is not None and is_cancelled_exception(error):
                status = RunStatus.CANCELLED
            await finish_dry_run(self._context, self._nango.state(), status, error)
            return
        finish = FinishRunInput(context=self._context, status=RunStatus.SUCCESS)
        if error is not None and is_cancelled_exception(error):
            finish = FinishRunInput(context=self._context, status=RunStatus.CANCELLED)
        elif error is not None:
            finish = FinishRunInput(
                context=self._context, status=RunStatus.FAILED, error=describe_failure(error)
            )
        await run_step(
            RunActivities.finish_run,
            finish,
            summary=f"finish: {finish.status}",
            policy=policies.BOOKKEEPING,
            priority=self._priority,
        )


async def _call(action: EntryPoint, nango: DurableAction, value: Any) -> Any:
    """Call the script; one that needs no input may leave the parameter out."""
    if len(inspect.signature(action).parameters) == 1:
        return await action(nango)
    return await action(nango, value)
