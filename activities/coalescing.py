"""Work that costs little more for many callers than for one, done for many at once.

Nobody waits for a batch to fill: a caller who comes while nothing is under way is served at once,
and those who come meanwhile are served together right after. So batches grow with the load alone,
and whoever asks is answered by work that began after he asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Coalesced"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Coalesced(Generic[ItemT, ResultT]):
    """Does work for one item by doing it for all that wait, in the order in which they came.

    Args:
        work: Returns a result, or the error of it, for each of the items. What it raises is raised
            for all of them.
        most: Items that are worked on at once.
    """

    def __init__(
        self,
        work: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | Exception]]],
        most: int,
    ) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[ItemT, asyncio.Future[ResultT]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, item: ItemT) -> ResultT:
        """Return what comes of an item; work on it goes on where the caller is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        self._waiting.append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                results = await self._work([item for item, _ in batch])
            except asyncio.CancelledError:
                for _, future in (*batch, *self._waiting):
                    future.cancel()
                self._waiting = []
                raise
            except Exception as error:  # noqa: BLE001 - it is whoever waits who handles it
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result.with_traceback(None))
                else:
                    future.set_result(result)
