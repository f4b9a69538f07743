"""Tells Temporal that steps are alive, so that a dead worker is noticed within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

__all__ = ["HeartbeatInterceptor", "heartbeating"]

_BEATS_PER_TIMEOUT = 4


class HeartbeatInterceptor(Interceptor):
    """Sends heartbeats while a step works whose policy has a `heartbeat_timeout`."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Activities(next)


class _Activities(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        async with heartbeating():
            return await self.next.execute_activity(input)


@asynccontextmanager
async def heartbeating() -> AsyncIterator[None]:
    """Send heartbeats while the block runs. They carry nothing: progress is kept in Postgres."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    beating = asyncio.create_task(_beat(timeout.total_seconds() / _BEATS_PER_TIMEOUT))
    try:
        yield
    finally:
        beating.cancel()


async def _beat(interval: float) -> None:
    while True:
        # The start counts as a beat: what ends sooner costs the server none.
        await asyncio.sleep(interval)
        activity.heartbeat()
