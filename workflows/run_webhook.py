"""The `webhook` workflow: webhooks of a provider, handled by one sync for one connection.

One is handled with all that a run has. In a burst several are handled by one execution, each for
itself; see `workflows.webhooks_together`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.bundles import BundleActivities, LoadScriptInput
    from activities.runs import RunStatus
    from activities.webhook_routes import WEBHOOK_HANDLER
    from activities.webhook_tasks import FinishWebhook, StartWebhook, WebhookTaskActivities
    from perdure.scripts.bundle import ScriptKind
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.names import PROGRESS_QUERY, WorkflowType
    from perdure.temporal.payloads import (
        ContinuedRun,
        RunContext,
        RunProgress,
        ScriptFiles,
        WebhookInput,
        WebhookResult,
    )
    from workflows.nango import DurableSync
    from workflows.scripts import load_entry_point, script_border
    from workflows.steps import run_at_once
    from workflows.supervision import StartAgain, stop_if_cancelled, supervised, to_the_end
    from workflows.validation import Validation
    from workflows.webhooks_together import handle_together

__all__ = ["RunWebhook"]


@workflow.defn(name=WorkflowType.WEBHOOK)
class RunWebhook:
    """Hands a webhook to the script, and notes how that began and ended."""

    def __init__(self) -> None:
        self._nango: DurableSync | None = None

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """Say how far the run is."""
        return self._nango.progress.snapshot() if self._nango else RunProgress()

    @workflow.run
    async def run(self, webhook: WebhookInput) -> WebhookResult | None:
        """Handle the webhook once, or several of them.

        Returns:
            How many of several were handled, None for one.

        Raises:
            ScriptError: The script failed; the failure names its file and line.
        """
        if webhook.together:
            return await handle_together(webhook)
        await self._handle(webhook)
        return None

    async def _handle(self, webhook: WebhookInput) -> None:
        started = await run_at_once(
            WebhookTaskActivities.start_webhook,
            StartWebhook(
                webhook=webhook,
                run_id=workflow.info().first_execution_run_id,
                started_at=workflow.now(),
            ),
            summary=f"start {webhook.sync} for {webhook.connection_id}",
        )
        context = webhook.continued.context if webhook.continued else started.context
        if context is None:
            return
        priority = Priority(fairness_key=f"{context.environment}/{context.connection_id}"[:64])
        self._nango = nango = DurableSync(context, limit=policies.WEBHOOK_LIMIT, priority=priority)
        if webhook.continued is not None:
            nango.resume(webhook.continued.state)
        try:
            await stop_if_cancelled()
            await self._run_script(context, nango, started.payload)
            # The script may have taken the cancellation for an error and gone on to its end.
            await stop_if_cancelled()
        except StartAgain:
            same = context.model_copy(update={"bundle": nango.bundle})
            continued = ContinuedRun(context=same, state=nango.state())
            workflow.continue_as_new(webhook.model_copy(update={"continued": continued}))
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                await to_the_end(self._finish(webhook, context, RunStatus.CANCELLED))
            else:
                await to_the_end(self._finish(webhook, context, RunStatus.FAILED, error))
            raise
        await to_the_end(self._finish(webhook, context, RunStatus.SUCCESS))

    async def _run_script(self, context: RunContext, nango: DurableSync, payload: Any) -> None:
        script = await run_at_once(
            BundleActivities.load_script,
            LoadScriptInput(
                bundle=context.bundle,
                integration=context.integration,
                kind=ScriptKind.SYNC,
                name=context.script,
            ),
            summary=f"load {context.script} of bundle {context.bundle[:12]}",
        )
        # Another one than that of the context where the run is retried with a newer bundle.
        nango.bundle = script.bundle
        await supervised(self._execute(context, nango, script, payload), nango, script.path)

    async def _execute(
        self, context: RunContext, nango: DurableSync, script: ScriptFiles, payload: Any
    ) -> None:
        with script_border(script, nango.secrets):
            nango.validation = Validation(context, script, nango.warn)
            handler = load_entry_point(script, WEBHOOK_HANDLER)
            await handler(nango, payload)
            await nango.settle()

    async def _finish(
        self,
        webhook: WebhookInput,
        context: RunContext,
        status: RunStatus,
        error: BaseException | None = None,
    ) -> None:
        if self._nango is not None:
            try:
                await self._nango.close()
            except ActivityError as failed:
                # Lost log lines are no reason to lose how the run ended.
                workflow.logger.warning("log lines were not written", exc_info=failed)
        await run_at_once(
            WebhookTaskActivities.finish_webhook,
            FinishWebhook(
                task_id=webhook.task_id,
                context=context,
                status=status,
                error=describe_failure(error) if error else None,
            ),
            summary=f"finish: {status}",
        )
