"""Webhooks of a connection that one execution of `webhook` handles, one after the other.

Each is an execution of the script with a helper, a run and a record of its own. What they do is
written down by the dozen, so that a burst costs a small part of what as many executions would.
That is for scripts that only write records and log, and end well: at the first webhook whose
script fails, or asks for more, this ends, and nothing of that webhook has happened.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.bundles import BundleActivities, LoadScriptInput
    from activities.webhook_batches import (
        CommitWebhooks,
        HeldWebhook,
        StartWebhooks,
        WebhookBatchActivities,
        add_counts,
    )
    from activities.webhook_routes import WEBHOOK_HANDLER
    from perdure.scripts.bundle import ScriptKind
    from perdure.temporal.payloads import RunContext, ScriptFiles, WebhookInput, WebhookResult
    from workflows.nango.held import HeldSync
    from workflows.scripts import load_entry_point
    from workflows.steps import run_at_once
    from workflows.validation import Validation

__all__ = ["handle_together"]

# Scripts run in one turn of the workflow between two steps, and a turn may not take seconds.
_WRITTEN_AT_ONCE = 10
# Who waits for nothing but the helper is through long before.
_TURNS = 100


async def handle_together(webhook: WebhookInput) -> WebhookResult:
    """Handle webhooks in their order, up to the first that needs an execution of its own.

    Args:
        webhook: The first, and those behind it.
    """
    whom = f"{webhook.sync} for {webhook.connection_id}"
    started = await run_at_once(
        WebhookBatchActivities.start_webhooks,
        StartWebhooks(webhook=webhook, started_at=workflow.now()),
        summary=f"start {1 + len(webhook.together)} webhooks: {whom}",
    )
    context = started.context
    if context is None:
        return WebhookResult()
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
    together = _Together(context, script, [webhook.task_id, *webhook.together])
    for payload in started.payloads:
        if not await together.handle(payload):
            break
    await together.write()
    return together.result


class _Together:
    """Handles webhooks, and writes down what they did.

    Attributes:
        result: How far they are.
    """

    def __init__(self, context: RunContext, script: ScriptFiles, tasks: list[int]) -> None:
        self._context = context
        self._script = script
        self._tasks = iter(tasks)
        self._held: list[HeldWebhook] = []
        self.result = WebhookResult()

    async def handle(self, payload: Any) -> bool:
        """Have the script handle the next webhook; returns whether those behind it may follow."""
        context = self._context.model_copy(
            update={"run_id": str(workflow.uuid4()), "started_at": workflow.now()}
        )
        nango = HeldSync(context, priority=Priority.default)
        handled = await _ends_well(nango, context, self._script, payload)
        if not handled:
            self._note(asks_for_more=nango.needs_own_run)
            return False
        self._held.append(
            HeldWebhook(
                task_id=next(self._tasks),
                run_id=context.run_id,
                started_at=context.started_at,
                writes=nango.writes,
                lines=nango.lines,
            )
        )
        return len(self._held) < _WRITTEN_AT_ONCE or await self.write()

    async def write(self) -> bool:
        """Write down what has been handled; returns whether all of it could be."""
        if not self._held:
            return True
        held, self._held = self._held, []
        written = await run_at_once(
            WebhookBatchActivities.commit_webhooks,
            CommitWebhooks(context=self._context, webhooks=held),
            summary=_what(held),
        )
        counts = {model: dict(made) for model, made in self.result.counts.items()}
        add_counts(counts, written.counts)
        runs = [webhook.run_id for webhook in held[: written.count]]
        self._note(
            count=self.result.count + written.count,
            runs=[*self.result.runs, *runs],
            counts=counts,
        )
        if written.count == len(held):
            return True
        # The one that could not be written says nothing of those behind it.
        self._note(asks_for_more=False)
        return False

    def _note(self, **changes: object) -> None:
        self.result = self.result.model_copy(update=changes)


async def _ends_well(
    nango: HeldSync, context: RunContext, script: ScriptFiles, payload: Any
) -> bool:
    """Run the script on a webhook; returns False where it has to be run in another way."""
    task = asyncio.ensure_future(_run(nango, context, script, payload))
    try:
        for _ in range(_TURNS):
            if task.done() or nango.needs_own_run:
                break
            await asyncio.sleep(0)
        if task.done() and not nango.needs_own_run:
            return task.exception() is None
        # It waits for something else, a moment perhaps.
        nango.needs_own_run = True
        return False
    finally:
        task.add_done_callback(_heard)
        task.cancel()


async def _run(nango: HeldSync, context: RunContext, script: ScriptFiles, payload: Any) -> None:
    nango.validation = Validation(context, script, nango.warn)
    await load_entry_point(script, WEBHOOK_HANDLER)(nango, payload)
    await nango.close()


def _heard(task: asyncio.Task[None]) -> None:
    # What it raised is raised again in the execution that it gets.
    if not task.cancelled():
        task.exception()


def _what(held: list[HeldWebhook]) -> str:
    numbers: dict[str, int] = {}
    for webhook in held:
        for write in webhook.writes:
            verb = f"{write.verb.removeprefix('batch_')} {write.model}"
            numbers[verb] = numbers.get(verb, 0) + len(write.records)
    did = ", ".join(f"{verb}: {number:,}" for verb, number in numbers.items()) or "no records"
    return f"{len(held)} webhooks handled, {did}"
