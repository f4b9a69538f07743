"""Processes begin when the database has what they need, whoever brings it up to date.

A database that is newer than they are is fine: `perdure migrate` of the next release runs while
the processes of this one go on.
"""

from __future__ import annotations

import asyncio
import time

import structlog

from perdure.db.database import Database
from perdure.errors import StartupError

__all__ = ["until_migrated"]

_PATIENCE = 60.0
_LOOK_EVERY = 1.0

log = structlog.get_logger(__name__)


async def until_migrated(database: Database, patience: float = _PATIENCE) -> None:
    """Wait until the database has all revisions that this release needs.

    Args:
        database: An open database.
        patience: Seconds to wait; `perdure migrate` may run at this moment.

    Raises:
        StartupError: `database_behind`: it still lacks some.
        UnavailableError: Postgres does not answer.
    """
    give_up_at = time.monotonic() + patience
    told = False
    while missing := await database.missing_revisions():
        if time.monotonic() >= give_up_at:
            msg = (
                f"The database lacks {_named(missing)}, which this release needs. "
                "Run `perdure migrate` of this release first."
            )
            raise StartupError(msg, code="database_behind")
        if not told:
            log.warning("waiting_for_migration", missing=missing, patience_seconds=patience)
            told = True
        await asyncio.sleep(_LOOK_EVERY)


def _named(missing: list[str]) -> str:
    if len(missing) == 1:
        return f"the revision {missing[0]}"
    return f"the revisions {missing[0]} to {missing[-1]}"
