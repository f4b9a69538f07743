"""Tells Temporal that an activity is alive, so that a dead worker is noticed within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity

__all__ = ["heartbeating"]

_BEATS_PER_TIMEOUT = 4


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
