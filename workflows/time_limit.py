"""How long a script may take, counted from its beginning, waits included."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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


async def within(
    limit: timedelta | None, script: Coroutine[Any, Any, T], nango: HelperSteps, path: str
) -> T:
    """Run a script and return what it returns, or end it when its time is over.

    It is cancelled then, and has ten seconds for what it does about that.

    Args:
        limit: Time that is left, None for no limit.
        script: Its supervised call.
        nango: The helper it was given.
        path: The script's file, for messages.

    Raises:
        ApplicationError: `run_timeout`.
        asyncio.CancelledError: The run is being cancelled.
    """
    if limit is None:
        return await script
    task = asyncio.ensure_future(script)
    try:
        await workflow.wait_condition(
            task.done, timeout=max(limit, timedelta()), timeout_summary=f"the limit of {path}"
        )
    except asyncio.CancelledError:
        task.cancel()
        return await task
    except TimeoutError:
        task.cancel()
        try:
            await workflow.wait_condition(task.done, timeout=_CLEANING_UP)
        except TimeoutError:
            nango.halt()
        msg = f"{path}: the run took longer than it may (run_timeout in nango.yaml)."
        raise ApplicationError(
            msg, {"file": path, "line": 1}, type=RUN_TIMEOUT, non_retryable=True
        ) from None
    return await task
