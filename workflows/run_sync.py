"""The `sync` workflow: one run of one sync for one connection."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.bundles import BundleActivities, LoadScriptInput
    from activities.runs import FinishRunInput, RunActivities, RunStatus, StartSyncInput
    from activities.schedules import ScheduleActivities
    from perdure.scripts.bundle import ScriptKind
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.names import PROGRESS_QUERY, SearchAttribute, WorkflowType
    from perdure.temporal.payloads import (
        ContinuedRun,
        RunContext,
        RunProgress,
        ScriptFiles,
        SyncInput,
        SyncResult,
    )
    from workflows.dry_run import begin_dry_run, finish_dry_run
    from workflows.nango import DurableSync
    from workflows.resync import drop_leftovers, swap_records
    from workflows.scripts import load_entry_point, script_border
    from workflows.steps import run_step
    from workflows.supervision import StartAgain, stop_if_cancelled, supervised, to_the_end
    from workflows.time_limit import TimeLimit, failed_status, within
    from workflows.validation import Validation
    from workflows.webhooks import start_deliveries

__all__ = ["RunSync"]

# Names a change in histories; it can never change.
_OWN_LIMIT = "syncs-end-in-time-themselves"


@workflow.defn(name=WorkflowType.SYNC)
class RunSync:
    """Starts the run's record, executes the script, and notes how it ended."""

    def __init__(self) -> None:
        self._nango: DurableSync | None = None

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """Say how far the run is."""
        return self._nango.progress.snapshot() if self._nango else RunProgress()

    @workflow.run
    async def run(self, sync: SyncInput) -> SyncResult:
        """Run the sync once.

        Raises:
            ScriptError: The script failed; the failure names its file and line.
        """
        priority = Priority(fairness_key=f"{sync.environment}/{sync.connection_id}"[:64])
        if sync.dry_run is not None:
            own = {"run_id": workflow.info().first_execution_run_id}
            begun = sync.dry_run.model_copy(
                update={"context": sync.dry_run.context.model_copy(update=own)}
            )
            await begin_dry_run(begun.context)
            sync = sync.model_copy(update={"dry_run": None, "continued": begun})
        if sync.continued is not None:
            return await self._run(sync, sync.continued.context, priority)
        context = await self._start(sync, priority)
        if context is None:
            await run_step(
                ScheduleActivities.forget_schedule,
                sync,
                summary=f"{sync.sync} is gone: delete its schedule",
                policy=policies.BOOKKEEPING,
                priority=priority,
            )
            return SyncResult(skipped="the connection or the sync does not exist any more")
        if context.blocked_by is not None:
            return SyncResult(skipped=f"the run {context.blocked_by} of the sync is under way")
        workflow.upsert_search_attributes([SearchAttribute.BUNDLE.value_set(context.bundle)])
        return await self._run(sync, context, priority)

    async def _run(self, sync: SyncInput, context: RunContext, priority: Priority) -> SyncResult:
        limit = policies.limit_of(context.retry_limit)
        self._nango = nango = DurableSync(context, limit=limit, priority=priority)
        if sync.continued is not None:
            nango.resume(sync.continued.state)
        try:
            await stop_if_cancelled()
            await drop_leftovers(context, priority)
            await self._run_script(context, nango, priority)
            # The script may have taken the cancellation for an error and gone on to its end.
            await stop_if_cancelled()
            await nango.finish_deletes()
            await swap_records(context, priority)
        except StartAgain:
            same = context.model_copy(update={"bundle": nango.bundle, "leftovers": False})
            continued = ContinuedRun(context=same, state=nango.state())
            workflow.continue_as_new(sync.model_copy(update={"continued": continued}))
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                await to_the_end(self._finish(context, nango, RunStatus.CANCELLED))
            else:
                await to_the_end(self._finish(context, nango, failed_status(error), error))
            raise
        return await to_the_end(self._finish(context, nango, RunStatus.SUCCESS))

    async def _start(self, sync: SyncInput, priority: Priority) -> RunContext | None:
        due_at = workflow.info().typed_search_attributes.get(SearchAttribute.DUE_AT)
        start = StartSyncInput(sync=sync, started_at=workflow.now(), due_at=due_at)
        try:
            return await run_step(
                RunActivities.start_sync,
                start,
                summary=f"start {sync.sync} for {sync.connection_id}",
                policy=policies.STARTING,
                priority=priority,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                await run_step(
                    RunActivities.cancel_start,
                    start,
                    summary="cancelled while it started",
                    policy=policies.BOOKKEEPING,
                    priority=priority,
                )
            raise

    async def _run_script(
        self, context: RunContext, nango: DurableSync, priority: Priority
    ) -> None:
        script = await run_step(
            BundleActivities.load_script,
            LoadScriptInput(
                bundle=context.bundle,
                integration=context.integration,
                kind=ScriptKind.SYNC,
                name=context.script,
            ),
            summary=f"load {context.script} of bundle {context.bundle[:12]}",
            policy=policies.BOOKKEEPING,
            priority=priority,
        )
        # Another one than that of the context where the run is retried with a newer bundle.
        nango.bundle = script.bundle
        work = supervised(self._execute(context, nango, script), nango, script.path)
        if context.run_timeout is None or not workflow.patched(_OWN_LIMIT):
            await work
            return
        # Where Temporal ended the execution nothing could be written any more.
        limit = TimeLimit(context, priority, context.started_at)
        await within(limit, work, nango, script.path)

    async def _execute(self, context: RunContext, nango: DurableSync, script: ScriptFiles) -> None:
        with script_border(script, nango.secrets):
            nango.validation = Validation(context, script, nango.warn)
            fetch_data = load_entry_point(script, "fetch_data")
            if context.input is not None and context.validation != "off":
                await nango.validation.check(
                    context.input,
                    await nango.get_metadata(),
                    what=f"metadata of the connection ({context.input})",
                    code="invalid_sync_input",
                )
            returned = await fetch_data(nango)
            await nango.settle()
        if returned is not None:
            await nango.warn("fetch_data returned a value; a sync's result is ignored")

    async def _finish(
        self,
        context: RunContext,
        nango: DurableSync,
        status: RunStatus,
        error: BaseException | None = None,
    ) -> SyncResult:
        try:
            await nango.close()
        except ActivityError as failed:
            # Lost log lines are no reason to lose how the run ended.
            workflow.logger.warning("log lines were not written", exc_info=failed)
        if context.dry_run:
            counts = await finish_dry_run(context, nango.state(), status, error)
            return SyncResult(counts=counts)
        finished = await run_step(
            RunActivities.finish_sync,
            FinishRunInput(
                context=context,
                status=status,
                error=describe_failure(error) if error else None,
            ),
            summary=f"finish: {status}",
            policy=policies.BOOKKEEPING,
        )
        await start_deliveries(context.environment, finished.deliveries)
        return SyncResult(counts=finished.counts)
