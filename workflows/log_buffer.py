"""Log lines of a run, written behind: the script never waits for its log.

Lines that are written while an earlier batch is on its way go out together with the next one, so
a chatty script costs a few steps, not one a line. `close` waits until everything is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from activities.runs import LogEntry

__all__ = ["LogBuffer"]

_BATCH = 500


class LogBuffer:
    """Collects lines and sends them in order.

    Args:
        send: Writes a batch; the first argument is the batch's number.
    """

    def __init__(self, send: Callable[[int, Sequence[LogEntry]], Awaitable[None]]) -> None:
        self._send = send
        self._lines: list[LogEntry] = []
        self._batches = 0
        self._sender: asyncio.Task[None] | None = None

    def add(self, line: LogEntry) -> None:
        """Take a line; it is written soon."""
        self._lines.append(line)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Wait until every line is written."""
        if self._sender is not None:
            await asyncio.shield(self._sender)

    async def _drain(self) -> None:
        while self._lines:
            batch, self._lines = self._lines[:_BATCH], self._lines[_BATCH:]
            self._batches += 1
            await self._send(self._batches, batch)
