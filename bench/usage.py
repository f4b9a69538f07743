"""What processes use: CPU seconds with all children, and resident memory over time."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psutil

__all__ = ["Memory", "cpu_seconds", "watched_memory"]

_EVERY = 0.2
_MIB = 1 << 20


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children so far, those that have ended included."""
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            # Of ended children only: what lives is a process of the tree itself.
            total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(slots=True)
class Memory:
    """Resident memory of a process and its children while something ran, in MiB.

    Attributes:
        samples: Moment and size, in the order of time.
    """

    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def peak(self) -> float:
        """The most at any moment."""
        return max((size for _, size in self.samples), default=0.0)

    @property
    def early(self) -> float:
        """Median of the second quarter of the time; in the first one things are still set up."""
        return self._between(0.25, 0.5)

    @property
    def late(self) -> float:
        """Median of the last quarter."""
        return self._between(0.75, 1.0)

    def _between(self, start: float, end: float) -> float:
        count = len(self.samples)
        chosen = [size for _, size in self.samples[int(count * start) : int(count * end)]]
        return statistics.median(chosen) if chosen else self.peak


@asynccontextmanager
async def watched_memory(pid: int) -> AsyncIterator[Memory]:
    """Look at a process's memory again and again for as long as the context lasts."""
    memory = Memory()

    async def watch() -> None:
        while True:
            size = 0
            for process in _tree(pid):
                with suppress(psutil.NoSuchProcess):
                    size += process.memory_info().rss
            memory.samples.append((time.monotonic(), size / _MIB))
            await asyncio.sleep(_EVERY)

    watching = asyncio.create_task(watch())
    try:
        yield memory
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
