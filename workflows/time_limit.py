"""How long a script may take, counted from its beginning, waits included."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows.nango.steps import HelperSteps

__all__ = ["RUN_TIMEOUT", "within"]

T = TypeVar("T")

RUN_TIMEOUT = "run_timeout"
"""Code of the failure of a run that took longer than it may."""

_CLEANING_UP = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long a script may take.

    Attributes:
        left: Time that is left, None for no limit.
        granted: Says, when that is over, how much was given since; nothing or less ends the run.
    """

    left: timedelta | None
    granted: Callable[[], Awaitable[timedelta]]


async def within(
    limit: TimeLimit, script: Coroutine[Any, Any, T], nango: HelperSteps, path: str
) -> T:
    """Run a script and return what it returns, or end it when its time is over.

    It is cancelled then, and has ten seconds for what it does about that.

    Args:
        limit: Its time.
        script: Its supervised call.
        nango: The helper it was given.
        path: The script's file, for messages.

    Raises:
        ApplicationError: `run_timeout`.
        asyncio.CancelledError: The run is being cancelled.
    """
    left = limit.left
    if left is None:
        return await script
    task = asyncio.ensure_future(script)
    over_at = 0
    try:
        while left > timedelta() or not over_at:
            if await _ends(task, left, path):
                return await task
            # Where a run that is retried goes on: it asks again then.
            over_at = workflow.info().get_current_history_length()
            left = await limit.granted()
        if task.done():
            return await task
    except asyncio.CancelledError:
        task.cancel()
        return await task
    task.cancel()
    if not await _ends(task, _CLEANING_UP, path):
        nango.halt()
    msg = f"{path}: the run took longer than it may (run_timeout in nango.yaml)."
    raise ApplicationError(
        msg,
        {"file": path, "line": 1},
        {"failed_at": over_at},
        type=RUN_TIMEOUT,
        non_retryable=True,
    )


async def _ends(task: asyncio.Task[Any], limit: timedelta, path: str) -> bool:
    """Wait for a task; returns whether it has ended in time."""
    try:
        await workflow.wait_condition(
            task.done, timeout=max(limit, timedelta()), timeout_summary=f"the limit of {path}"
        )
    except TimeoutError:
        return False
    return True
