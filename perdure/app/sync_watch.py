"""Tells what the last runs of all syncs came to, for as long as somebody measures.

Counters of runs cannot: of a sync that runs once a day they see one failure at most before their
process ends, and the first event of a counter is no growth. So the database is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from perdure.db.overview import OverviewStore, SyncOutcome
from perdure.errors import PerdureError
from perdure.observability.metrics import SYNCS

__all__ = ["watching_syncs"]

# With ten thousand syncs a look takes two thirds of what the overview takes.
_LOOK_SECONDS = 60.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def watching_syncs(
    store: OverviewStore, *, every: float = _LOOK_SECONDS
) -> AsyncIterator[None]:
    """Look at the last runs from time to time while the block runs.

    Args:
        store: Looks.
        every: Seconds between two looks.
    """
    looking = asyncio.create_task(_look(store, every))
    try:
        yield
    finally:
        looking.cancel()


async def _look(store: OverviewStore, every: float) -> None:
    told: set[SyncOutcome] = set()
    while True:
        try:
            found = await store.outcomes()
        except PerdureError as error:
            # What was told stands until the database answers again.
            log.warning("syncs_not_looked_at", code=error.code)
        except Exception:
            # The next look may find what this one could not, and an alert relies on it.
            log.exception("syncs_not_looked_at")
        else:
            # A level that is told no more would stay where it was.
            for outcome in told - found.keys():
                _tell(outcome, 0)
            for outcome, count in found.items():
                _tell(outcome, count)
            told |= found.keys()
        await asyncio.sleep(every)


def _tell(outcome: SyncOutcome, count: int) -> None:
    SYNCS.set(
        count,
        environment=outcome.environment,
        integration=outcome.integration,
        script=outcome.script,
        outcome=outcome.outcome,
    )
