"""How workers end: in good order, and in time whatever they are at."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import structlog
from temporalio.worker import Worker

__all__ = ["LONGEST_END", "end_workers"]

LONGEST_END = 12.0
"""Seconds that workers have to end; the compose file has their process killed after 15."""

_MOST_TASKS = 20

log = structlog.get_logger(__name__)


async def end_workers(
    workers: Sequence[Worker],
    running: Sequence[asyncio.Task[None]],
    *,
    code: int,
    last: Callable[[], Awaitable[None]],
    within: float = LONGEST_END,
) -> list[BaseException | None]:
    """Have workers take nothing on any more and end what they are at; returns what ended each.

    The SDK has no limit for that: it waits for steps that do not heed their cancelling, and goes on
    with a workflow for as long as the server answers each workflow task with the next one, which it
    does where signals come all the time. After a while the process ends where it stands; what it
    was at is done by another worker, as when it is killed.

    Args:
        workers: Those of this process.
        running: What runs each of them.
        code: With what the process ends if it takes too long.
        last: Waits for what no other process could do again.
        within: Seconds that it may take.
    """
    ending = asyncio.gather(
        *(worker.shutdown() for worker in workers), *running, return_exceptions=True
    )
    await asyncio.wait({ending}, timeout=within)
    if not ending.done():
        try:
            ended = [repr(task.exception()) for task in running if task.done()]
            at = list(_places())
            log.warning("worker_stopped_where_it_stood", seconds=within, ended=ended, at=at)
            await last()
            sys.stdout.flush()
        finally:
            os._exit(code)
    return ending.result()[len(workers) :]


def _places() -> Iterator[str]:
    """Yield where the tasks stand that are under way, the innermost place of each."""
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name)[:_MOST_TASKS]:
        if task is asyncio.current_task():
            continue
        place = ""
        inner: Any = task.get_coro()
        while inner is not None and (frame := getattr(inner, "cr_frame", None)) is not None:
            place = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            inner = getattr(inner, "cr_await", None)
        yield f"{task.get_name()}: {place}"
