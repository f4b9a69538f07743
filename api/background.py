"""Work that must go on when the client that asked for it hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

__all__ = ["AppTasks"]

T = TypeVar("T")

log = structlog.get_logger(__name__)


class AppTasks:
    """Tasks of the app rather than of a request.

    Each is referenced until it ends, so that it is not collected half-way.

    Attributes:
        ending: Set when the process is about to end; what goes on without an end comes to one.
    """

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        # One for all that wait, made when the first of them does.
        self._end: asyncio.Task[Any] | None = None

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start work; await the task through `asyncio.shield`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def until_done_or_ending(self, task: asyncio.Task[Any], patience: float) -> bool:
        """Wait for a task, but not much longer than the process lives.

        Args:
            task: Goes on when the caller is cancelled.
            patience: Seconds that are left to it when the process is about to end.

        Returns:
            Whether it is done.
        """
        if self._end is None:
            self._end = asyncio.create_task(self.ending.wait())
        await asyncio.wait({task, self._end}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=patience)
        return task.done()

    async def close(self, patience: float) -> None:
        """Wait for what is under way, then cancel it.

        Args:
            patience: Seconds to wait.
        """
        if self._end is not None:
            self._end.cancel()
        if not self._tasks:
            return
        _, pending = await asyncio.wait(self._tasks, timeout=patience)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if pending:
            log.warning("background_tasks_cancelled", count=len(pending))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever awaits the task reports its error; asked for here, it is not reported twice.
            task.exception()
