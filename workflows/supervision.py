"""Runs a script as a task of its own and watches over the length of its history.

The script may be started again in a new execution when it has saved a checkpoint: it then never
comes back from `save_checkpoint`, so nothing it catches can hold it; unless records could not be
written that it handed over meanwhile, which it is told there. A history that nears its
limit is warned about, then ends the run before the server does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from perdure.nango import HelperError
    from perdure.temporal.failures import HISTORY_LIMIT
    from workflows.history import History
    from workflows.nango.steps import HelperSteps

__all__ = ["StartAgain", "stop_if_cancelled", "supervised", "to_the_end"]

T = TypeVar("T")

# Names a change in histories; it can never change.
_TOLD = "unwritten-records-are-told-at-checkpoints"

_WHAT_TO_DO = (
    "Give a long run a place to go on from: `await nango.save_checkpoint({...})` in its loop and "
    "`await nango.get_checkpoint()` at its start, so that it can begin a new history; or let "
    "`await nango.each(items, fn)` give each part of the work a history of its own."
)


class StartAgain(Exception):  # noqa: N818 - it is no error
    """The script saved a checkpoint and is to start again in a new execution."""


async def supervised(script: Coroutine[Any, Any, T], nango: HelperSteps, path: str) -> T:
    """Run a script to its end, and return what it returns.

    Args:
        script: The call of its entry point, inside its border.
        nango: The helper it was given.
        path: The script's file, for messages.

    Raises:
        StartAgain: A new execution has to go on. Everything that was written is written then.
        ApplicationError: `history_limit`.
        asyncio.CancelledError: The run is being cancelled.
    """
    history = nango.history
    if history is None:
        return await script
    task = asyncio.ensure_future(script)
    try:
        await _watched(task, nango, history, path)
        if not task.done() and await _is_unwritten(nango):
            # The script hears of it at its checkpoint.
            nango.go_on()
            await _watched(task, nango, history, path)
        if task.done():
            return await task
        await _drained(nango)
        # A new execution would not hear of it.
        await stop_if_cancelled()
        raise StartAgain
    except asyncio.CancelledError:
        nango.go_on()
        task.cancel()
        return await task


async def stop_if_cancelled() -> None:
    """Raise what a step that did not hear of it, or a script that caught it, has swallowed.

    Raises:
        asyncio.CancelledError: The run is being cancelled.
    """
    if workflow.cancellation_reason() is not None:
        # It is delivered a turn of the loop after it is known; then, not in the middle of what
        # the run does about it.
        await asyncio.sleep(0)
        raise asyncio.CancelledError


async def to_the_end(ending: Coroutine[Any, Any, T]) -> T:
    """Do what a cancellation must not interrupt, such as noting how a run ended.

    Args:
        ending: What is done, whole.
    """
    task = asyncio.ensure_future(ending)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return await task


async def _watched(
    task: asyncio.Task[Any], nango: HelperSteps, history: History, path: str
) -> None:
    """Wait until a script has ended, or is halted.

    Raises:
        ApplicationError: `history_limit`.
    """
    await workflow.wait_condition(lambda: task.done() or nango.is_halted or history.is_near_limit)
    if not (task.done() or nango.is_halted):
        await nango.warn(f"The history of this run gets long: {history}. {_WHAT_TO_DO}")
        await workflow.wait_condition(lambda: task.done() or nango.is_halted or history.is_full)
    if not (task.done() or nango.is_halted):
        nango.halt()
        raise _too_long(history, path)


async def _is_unwritten(nango: HelperSteps) -> bool:
    """Say whether something that a halted script has handed over could not be written."""
    try:
        await nango.settle()
    except HelperError:
        return workflow.patched(_TOLD)
    return False


async def _drained(nango: HelperSteps) -> None:
    nango.drop_ahead()
    # A step that is still under way could write after the script has begun anew.
    await workflow.wait_condition(lambda: not nango.steps_under_way)
    try:
        await nango.close()
    except ActivityError as failed:
        workflow.logger.warning("log lines were not written", exc_info=failed)


def _too_long(history: History, path: str) -> ApplicationError:
    return ApplicationError(
        f"{path}: the history of this run is nearly as long as Temporal allows ({history}); it "
        f"was ended before it is lost. {_WHAT_TO_DO}",
        {"file": path, "line": 1},
        type=HISTORY_LIMIT,
        non_retryable=True,
    )
