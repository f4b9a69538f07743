"""The `on-event` workflow: one run of a script on an event of a connection."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.bundles import BundleActivities, LoadScriptInput
    from perdure.scripts.bundle import ScriptKind
    from perdure.temporal import policies
    from perdure.temporal.names import PROGRESS_QUERY, WorkflowType
    from perdure.temporal.payloads import (
        EventInput,
        RunContext,
        RunProgress,
        RunState,
        ScriptFiles,
    )
    from workflows.action_record import DryRunRecord
    from workflows.nango import DurableAction
    from workflows.run_record import RunRecord
    from workflows.scripts import load_entry_point, script_border
    from workflows.steps import run_step
    from workflows.supervision import StartAgain, supervised, to_the_end
    from workflows.validation import Validation

__all__ = ["RunEvent"]


@workflow.defn(name=WorkflowType.ON_EVENT)
class RunEvent:
    """Executes a hook with the helper of actions; whoever starts it limits how long it takes."""

    def __init__(self) -> None:
        self._nango: DurableAction | None = None

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """Say how far the run is."""
        return self._nango.progress.snapshot() if self._nango else RunProgress()

    @workflow.run
    async def run(self, call: EventInput) -> None:
        """Run the script once.

        Raises:
            ScriptError: The script failed; the failure names its file and line.
            ActivityError: `script_not_found`.
        """
        info = workflow.info()
        own = {"run_id": info.first_execution_run_id, "workflow_id": info.workflow_id}
        context = call.context.model_copy(update=own)
        priority = Priority(fairness_key=f"{context.environment}/{context.connection_id}"[:64])
        record = RunRecord(context, priority)
        if context.dry_run:
            record = DryRunRecord(context, priority, self._state)
        try:
            if call.state is None or context.dry_run:
                await record.start()
            script = await self._load(call, priority)
            await self._supervise(call, context, script, priority)
        except StartAgain as again:
            workflow.continue_as_new(call.model_copy(update={"state": again.args[0]}))
        except (Exception, asyncio.CancelledError) as error:
            await to_the_end(record.finish(error))
            raise
        await to_the_end(record.finish(None))

    def _state(self) -> RunState:
        return self._nango.state() if self._nango else RunState()

    async def _load(self, call: EventInput, priority: Priority) -> ScriptFiles:
        context = call.context
        return await run_step(
            BundleActivities.load_script,
            LoadScriptInput(
                bundle=context.bundle,
                integration=context.integration,
                kind=ScriptKind.ON_EVENT,
                name=context.script,
                older=call.older,
            ),
            summary=f"load {context.script}",
            policy=policies.BOOKKEEPING,
            priority=priority,
        )

    async def _supervise(
        self, call: EventInput, context: RunContext, script: ScriptFiles, priority: Priority
    ) -> None:
        # It may be given another script where it is retried.
        context = context.model_copy(update={"bundle": script.bundle})
        limit = timedelta(seconds=call.limit)
        self._nango = nango = DurableAction(context, limit=limit, priority=priority)
        if call.state is not None:
            nango.resume(call.state)
        try:
            await supervised(self._execute(context, nango, script), nango, script.path)
        except StartAgain as again:
            raise StartAgain(nango.state()) from again
        except (Exception, asyncio.CancelledError):
            await to_the_end(nango.end())
            raise
        await to_the_end(nango.end())

    async def _execute(
        self, context: RunContext, nango: DurableAction, script: ScriptFiles
    ) -> None:
        with script_border(script, nango.secrets):
            nango.validation = Validation(context, script, nango.warn)
            await load_entry_point(script, "on_event")(nango)
