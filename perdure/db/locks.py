"""Locks that scripts take by name, within their environment.

A lock has a time after which it is free for others, so that none outlives an owner that can no
longer release it.
"""

from __future__ import annotations

from datetime import timedelta

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["LockStore"]

# The row decides between two who come at once: the second one waits for the first one's commit.
_ACQUIRE = """
INSERT INTO script_locks AS l (environment_id, key, owner, expires_at)
VALUES ($1, $2, $3, clock_timestamp() + $4::interval)
ON CONFLICT (environment_id, key) DO UPDATE
   SET owner = excluded.owner, expires_at = clock_timestamp() + $4::interval
 WHERE l.owner = excluded.owner OR l.expires_at <= clock_timestamp()
RETURNING key
"""

_RELEASE = """
DELETE FROM script_locks WHERE environment_id = $1 AND key = $2 AND owner = $3 RETURNING key
"""

_RELEASE_ALL = "DELETE FROM script_locks WHERE owner = $1"


class LockStore:
    """Keeps the locks of scripts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def acquire(
        self, environment_id: EnvironmentId, key: str, owner: str, ttl: timedelta
    ) -> bool:
        """Take a lock, or take it for longer; returns whether the owner has it now."""
        async with borrowed(self._pool) as conn:
            taken = await conn.fetchval(_ACQUIRE, environment_id, key, owner, ttl)
        return taken is not None

    async def release(self, environment_id: EnvironmentId, key: str, owner: str) -> bool:
        """Give a lock back; returns whether the owner had it."""
        async with borrowed(self._pool) as conn:
            released = await conn.fetchval(_RELEASE, environment_id, key, owner)
        return released is not None

    async def release_all(self, owner: str, *, conn: DbConnection | None = None) -> None:
        """Give back whatever an owner has.

        Args:
            owner: Id of the run.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_RELEASE_ALL, owner)
