"""Works on the items of `nango.each`, each in a child workflow, a bounded number at a time.

The id of an item's workflow follows from the run, the call and the item's place. So a run that is
retried finds the items that ended well, and only what failed is done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.each import (
        EachActivities,
        EachCall,
        ItemInput,
        ItemResult,
        ItemsInput,
        ItemsResult,
    )
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.names import WorkflowType, search_attributes
    from perdure.temporal.payloads import Payload
    from workflows.progress import Progress
    from workflows.steps import run_step, shortened

__all__ = ["ItemsFailedError", "in_lanes", "run_batch", "run_items"]

ResultT = TypeVar("ResultT")

_ITEMS_FAILED = "items_failed"
_LABEL_LENGTH = 60
_LABELS = ("full_name", "name", "slug", "key", "id")


class ItemsFailedError(Exception):
    """Items failed; the others were worked on nevertheless.

    Attributes:
        failed: Their places, in ascending order.
        first: Why the first of them failed, as `describe_failure` gives it.
    """

    def __init__(self, failed: tuple[int, ...], first: Mapping[str, Any]) -> None:
        super().__init__(failed, first)
        self.failed = failed
        self.first = first

    def failure(self) -> ApplicationError:
        """Return it as the failure of a batch's workflow."""
        return ApplicationError(
            f"{len(self.failed)} items failed; the first of them: {self.first['message']}",
            {"failed": list(self.failed), "first": dict(self.first)},
            type=_ITEMS_FAILED,
            non_retryable=True,
        )


async def run_items(items: ItemsInput, progress: Progress) -> ItemsResult:
    """Work on items, each in a workflow of its own; the results are in their order.

    Args:
        items: The items.
        progress: Is told of each item.

    Raises:
        ItemsFailedError: At least one failed. All have ended.
        asyncio.CancelledError: Whoever asked is being cancelled; so were the items.
    """
    values: list[Any] = [None] * len(items.items)
    secrets: dict[str, None] = {}
    failures: dict[int, Mapping[str, Any]] = {}

    async def work(position: int) -> None:
        index = items.first + position
        try:
            result = await _run_item(items.call, items.items[position], index)
        except (ChildWorkflowError, ActivityError) as error:
            failures[index] = _why(error)
            progress.items(failed=1)
            return
        values[position] = result.value
        secrets.update(dict.fromkeys(result.secrets))
        progress.include(result.progress)
        progress.items(done=1)

    await in_lanes(items.concurrency, len(values), work)
    if failures:
        failed = tuple(sorted(failures))
        raise ItemsFailedError(failed, failures[failed[0]])
    return ItemsResult(values=values, progress=progress.snapshot(), secrets=tuple(secrets))


async def run_batch(items: ItemsInput) -> ItemsResult:
    """Work on items in one workflow, whose children they are: the caller's history stays short.

    Raises:
        ItemsFailedError: As `run_items`.
        asyncio.CancelledError: As `run_items`.
    """
    call, last = items.call, items.first + len(items.items)
    text = f"{call.function} {items.first + 1:,} to {last:,} of {call.total:,}"
    try:
        return await _run_child(
            WorkflowType.EACH_BATCH,
            items,
            call,
            name=f"{items.first + 1}-{last}",
            text=text,
            result_type=ItemsResult,
            known_result=EachActivities.items_result,
        )
    except (ChildWorkflowError, ActivityError) as error:
        why = _why(error)
        if why["type"] == _ITEMS_FAILED:
            raise ItemsFailedError(tuple(why["failed"]), why["first"]) from error
        raise ItemsFailedError(tuple(range(items.first, last)), why) from error


async def in_lanes(lanes: int, count: int, do: Callable[[int], Awaitable[None]]) -> None:
    """Do the work of the numbers below `count` in their order, `lanes` pieces at a time.

    Raises:
        asyncio.CancelledError: Asked to stop; nothing is under way any more.
    """
    waiting = iter(range(count))

    async def lane() -> None:
        for number in waiting:
            await do(number)
            # A child may end well although it was asked to stop; then nothing was raised.
            if _is_stopping():
                raise asyncio.CancelledError

    async with asyncio.TaskGroup() as group:
        for _ in range(min(lanes, count)):
            group.create_task(lane())


async def _run_item(call: EachCall, item: Any, index: int) -> ItemResult:
    return await _run_child(
        WorkflowType.EACH,
        ItemInput(call=call, item=item, index=index),
        call,
        name=str(index + 1),
        text=f"{call.function}{_label(call, item)} · {index + 1:,} of {call.total:,}",
        result_type=ItemResult,
        known_result=EachActivities.item_result,
    )


async def _run_child(
    kind: WorkflowType,
    argument: Payload,
    call: EachCall,
    *,
    name: str,
    text: str,
    result_type: type[ResultT],
    known_result: Callable[[Any, str], Awaitable[ResultT]],
) -> ResultT:
    context = call.context
    workflow_id = f"{call.prefix}{name}"
    try:
        try:
            result: ResultT = await workflow.execute_child_workflow(
                kind,
                argument,
                id=workflow_id,
                result_type=result_type,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                static_summary=shortened(f"{text} · {context.script} for {context.connection_id}"),
                search_attributes=search_attributes(
                    kind,
                    context.environment,
                    integration=context.integration,
                    connection_id=context.connection_id,
                    script=context.script,
                    bundle=context.bundle,
                ),
                priority=workflow.info().priority,
            )
        except WorkflowAlreadyStartedError:
            result = await run_step(
                known_result, workflow_id, summary=text, policy=policies.OTHER_WORKFLOW
            )
    except (ChildWorkflowError, ActivityError) as error:
        if is_cancelled_exception(error) and _is_stopping():
            raise asyncio.CancelledError from error
        raise
    return result


def _is_stopping() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _why(error: ChildWorkflowError | ActivityError) -> dict[str, Any]:
    if is_cancelled_exception(error):
        return {"type": "item_cancelled", "message": "The work on it was cancelled."}
    return describe_failure(error)


def _label(call: EachCall, item: Any) -> str:
    """Name an item for people, where it has a name and no secret may be in it."""
    if call.secrets:
        return ""
    if isinstance(item, Mapping):
        item = next((item[name] for name in _LABELS if name in item), None)
    if not isinstance(item, str | int):
        return ""
    return f" {item}"[:_LABEL_LENGTH]
