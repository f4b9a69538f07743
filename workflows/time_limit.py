"""How long a script may take, counted from its beginning, waits included."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.runs import RunActivities, RunStatus
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext
    from workflows.nango.steps import HelperSteps
    from workflows.steps import run_step

__all__ = ["TimeLimit", "failed_status", "within"]

T = TypeVar("T")

_RUN_TIMEOUT = "run_timeout"
_CLEANING_UP = timedelta(seconds=10)


class TimeLimit:
    """How long the script of a run may take.

    Args:
        context: The run.
        priority: Fairness key of its steps.
        began_at: When its time began, None where it has not yet.

    Attributes:
        began_at: As given; later where the run was retried since.
    """

    def __init__(self, context: RunContext, priority: Priority, began_at: datetime | None) -> None:
        self._context = context
        self._priority = priority
        self.began_at = began_at

    def begin(self) -> None:
        """Let the time begin, unless it has."""
        self.began_at = self.began_at or workflow.now()

    @property
    def left(self) -> timedelta | None:
        """Time that is left, None for no limit."""
        if self._context.run_timeout is None or self.began_at is None:
            return None
        return self.began_at + timedelta(seconds=self._context.run_timeout) - workflow.now()

    async def granted(self) -> timedelta:
        """Return what was given since the time was over: all of it where the run is retried.

        Nothing or less ends the run.
        """
        # A reset begins no new execution of this code, and a timer that is over stays so.
        if not workflow.patched("retried-runs-have-their-time-anew"):
            return timedelta()
        retried_at = await run_step(
            RunActivities.retried_at,
            self._context.run_id,
            summary="is its time over?",
            policy=policies.BOOKKEEPING,
            priority=self._priority,
        )
        if retried_at is not None and self.began_at is not None:
            self.began_at = max(retried_at, self.began_at)
        return self.left or timedelta()


async def within(
    limit: TimeLimit, script: Coroutine[Any, Any, T], nango: HelperSteps, path: str
) -> T:
    """Run a script and return what it returns, or end it when its time is over.

    It is cancelled then, and has ten seconds for what it does about that. What it has handed over
    to be written is the caller's to write.

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
        type=_RUN_TIMEOUT,
        non_retryable=True,
    )


def failed_status(error: BaseException) -> RunStatus:
    """Return how a run stands that an error has ended."""
    is_late = isinstance(error, ApplicationError) and error.type == _RUN_TIMEOUT
    return RunStatus.TIMEOUT if is_late else RunStatus.FAILED


async def _ends(task: asyncio.Task[Any], limit: timedelta, path: str) -> bool:
    """Wait for a task; returns whether it has ended in time."""
    try:
        await workflow.wait_condition(
            task.done, timeout=max(limit, timedelta()), timeout_summary=f"the limit of {path}"
        )
    except TimeoutError:
        return False
    return True
