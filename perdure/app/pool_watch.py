"""Tells how much of the connection pool is in use, for as long as somebody measures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from perdure.db.database import Database
from perdure.observability.metrics import DATABASE_CONNECTIONS

__all__ = ["watching_pool"]

# Below the 15 s at which Prometheus commonly asks.
_LOOK_SECONDS = 5.0


@asynccontextmanager
async def watching_pool(database: Database) -> AsyncIterator[None]:
    """Look at the pool from time to time while the block runs."""
    looking = asyncio.create_task(_look(database))
    try:
        yield
    finally:
        looking.cancel()


async def _look(database: Database) -> None:
    while True:
        use = database.use
        DATABASE_CONNECTIONS.set(use.busy, state="busy")
        DATABASE_CONNECTIONS.set(use.idle, state="idle")
        DATABASE_CONNECTIONS.set(use.most, state="most")
        await asyncio.sleep(_LOOK_SECONDS)
