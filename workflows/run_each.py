"""The `each` workflow: one item of a `nango.each`; and `each-batch`: many of them."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.bundles import BundleActivities, LoadFileInput
    from activities.each import ItemInput, ItemResult, ItemsInput, ItemsResult
    from perdure.nango import HelperError
    from perdure.temporal import policies
    from perdure.temporal.names import PROGRESS_QUERY, WorkflowType
    from perdure.temporal.payloads import RunProgress, ScriptFiles
    from workflows.each_items import ItemsFailedError, run_items
    from workflows.nango import DurableAction, DurableSync
    from workflows.progress import Progress
    from workflows.scripts import as_json, load_entry_point, script_border, type_of
    from workflows.steps import run_step
    from workflows.supervision import StartAgain, stop_if_cancelled, supervised, to_the_end
    from workflows.validation import Validation

__all__ = ["RunEach", "RunEachBatch"]

_LARGEST_RESULT = 64 * 1024


@workflow.defn(name=WorkflowType.EACH)
class RunEach:
    """Calls the function for one item, with a helper of its own that works for the same run."""

    @workflow.init
    def __init__(self, item: ItemInput) -> None:
        call = item.call
        helper = DurableAction if call.context.kind == WorkflowType.ACTION else DurableSync
        self._nango = helper(
            call.context,
            limit=timedelta(seconds=call.limit_s),
            priority=workflow.info().priority,
        )
        self._nango.resume(call.state)
        self._nango.keep_checkpoint_of_item(call.state.checkpoint)
        self._nango.begin_scope(f"{call.scope}/{item.index + 1}")
        self._nango.secrets.learn(*call.secrets)

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """Say how far it is."""
        return self._nango.progress.snapshot()

    @workflow.run
    async def run(self, item: ItemInput) -> ItemResult:
        """Work on the item.

        Raises:
            ScriptError: The function failed; the failure names its file and line.
        """
        nango, call = self._nango, item.call
        script = await run_step(
            BundleActivities.load_file,
            LoadFileInput(bundle=call.context.bundle, path=call.file),
            summary=f"load {call.file} of bundle {call.context.bundle[:12]}",
            policy=policies.BOOKKEEPING,
            priority=workflow.info().priority,
        )
        try:
            value = await supervised(self._call(item, script), nango, script.path)
            await stop_if_cancelled()
        except StartAgain:
            state = call.model_copy(update={"state": nango.state()})
            workflow.continue_as_new(item.model_copy(update={"call": state}))
        except (Exception, asyncio.CancelledError):
            await to_the_end(nango.close())
            raise
        await to_the_end(nango.close())
        secrets = nango.secrets.texts if nango.secrets.within(value) else ()
        return ItemResult(value=value, progress=nango.progress.snapshot(), secrets=secrets)

    async def _call(self, item: ItemInput, script: ScriptFiles) -> Any:
        nango, call = self._nango, item.call
        with script_border(script, nango.secrets):
            nango.validation = Validation(call.context, script, nango.warn)
            function = load_entry_point(script, call.function)
            name = list(inspect.signature(function).parameters)[1]
            value = type_of(function, name).validate_python(item.item)
            result, size = as_json(await function(nango, value))
            await nango.settle()
            if size > _LARGEST_RESULT:
                msg = (
                    f"{call.function} returned {size / 1024:,.0f} KiB; at most "
                    f"{_LARGEST_RESULT // 1024} KiB are possible, save records instead"
                )
                raise HelperError(msg, code="result_too_large")
            return result


@workflow.defn(name=WorkflowType.EACH_BATCH)
class RunEachBatch:
    """Works on items that follow one another, each in a workflow of its own."""

    def __init__(self) -> None:
        self._progress = Progress(lambda text: text)

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """Say how far it is."""
        return self._progress.snapshot()

    @workflow.run
    async def run(self, items: ItemsInput) -> ItemsResult:
        """Work on the items.

        Raises:
            ApplicationError: `items_failed`, at least one failed; all have ended.
        """
        self._progress.items(begun=len(items.items))
        try:
            return await run_items(items, self._progress)
        except ItemsFailedError as error:
            raise error.failure() from None
