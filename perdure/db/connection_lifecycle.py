"""How far a connection is set up, what is held against its credentials, and its end.

Whoever gives a connection credentials leaves a version of them to be set up; what is noted here
counts only for the version it was done for, so that what was overtaken changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import ConnectionKey, EnvironmentId

__all__ = ["AwaitedSetup", "ConnectionLifecycle", "SetupState"]

_STATE = """
SELECT credentials_version, set_up_version, deleting_since IS NOT NULL
  FROM connections WHERE id = $1
"""

_IS_VALIDATED = """
SELECT validated_version >= $2 OR set_up_version >= $2 FROM connections WHERE id = $1
"""

_VALIDATED = """
UPDATE connections SET validated_version = $2, auth_error_run_id = NULL
 WHERE id = $1 AND credentials_version = $2
"""

_REFUSE_NEW = """
DELETE FROM connections
 WHERE id = $1 AND credentials_version = $2 AND set_up_version = 0 AND deleting_since IS NULL
"""

_REFUSED = """
UPDATE connections SET auth_error_run_id = $3, set_up_version = $2
 WHERE id = $1 AND credentials_version = $2
"""

_SET_UP = """
UPDATE connections SET set_up_version = $2 WHERE id = $1
RETURNING credentials_version > $2 AND deleting_since IS NULL
"""

_HELD = "SELECT deleting_since IS NULL FROM connections WHERE id = $1 FOR SHARE"

_UNVALIDATED = "SELECT id FROM connections WHERE id = ANY ($1::bigint[]) AND validated_version = 0"

_BEGIN_DELETION = """
UPDATE connections SET deleting_since = coalesce(deleting_since, now()) WHERE id = $1
"""

_AWAITED = """
SELECT e.id, e.name, i.unique_key, c.connection_id, c.id, c.set_up_version = 0
  FROM connections c
  JOIN integrations i ON i.id = c.integration_id
  JOIN environments e ON e.id = c.environment_id
 WHERE c.set_up_version < c.credentials_version
   AND c.deleting_since IS NULL
   AND c.id > $1
 ORDER BY c.id
 LIMIT $2
"""

# A run that goes on, or was cancelled, says nothing of how the sync fares.
_FAILED_SYNCS = """
SELECT s.connection_key, latest.id
  FROM syncs s, LATERAL (
      SELECT r.id, r.status
        FROM runs r
       WHERE r.connection_key = s.connection_key AND r.script = s.name AND r.variant = s.variant
         AND r.kind = 'sync' AND r.status IN ('success', 'failed', 'timeout')
       ORDER BY r.started_at DESC
       LIMIT 1) latest
 WHERE s.connection_key = ANY ($1::bigint[]) AND latest.status <> 'success'
 ORDER BY s.connection_key, s.name, s.variant
"""


@dataclass(frozen=True, slots=True)
class SetupState:
    """How far a connection is set up.

    Attributes:
        version: Version of its credentials.
        is_new: Whether it never was set up.
        is_due: Whether this version is still to be set up.
        is_being_deleted: Whether nothing is to begin for it any more.
    """

    version: int
    is_new: bool
    is_due: bool
    is_being_deleted: bool


@dataclass(frozen=True, slots=True)
class AwaitedSetup:
    """A connection that is to be set up, and whether it never was."""

    environment_id: EnvironmentId
    environment: str
    integration: str
    connection_id: str
    key: ConnectionKey
    is_new: bool


class ConnectionLifecycle:
    """Notes what is done to connections from their creation to their deletion.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def state(self, key: ConnectionKey) -> SetupState | None:
        """Return how far a connection is set up, None where there is none."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_STATE, key)
        if row is None:
            return None
        version, set_up, is_being_deleted = row.values()
        return SetupState(version, set_up == 0, set_up < version, is_being_deleted)

    async def is_validated(self, key: ConnectionKey, version: int) -> bool | None:
        """Return whether it is known of credentials if they are good, None of no connection."""
        async with borrowed(self._pool) as conn:
            known: bool | None = await conn.fetchval(_IS_VALIDATED, key, version)
        return known

    async def note_validated(self, key: ConnectionKey, version: int) -> None:
        """Note that nothing is to be said against credentials."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_VALIDATED, key, version)

    async def refuse(
        self, key: ConnectionKey, version: int, run_id: str, *, conn: DbConnection
    ) -> bool:
        """Delete a connection that never was set up, or mark one that was.

        Nothing is done where newer credentials came in meanwhile.

        Args:
            key: Which connection.
            version: The credentials that were refused.
            run_id: The run that did.
            conn: Connection whose transaction this joins.

        Returns:
            Whether there was something to refuse.
        """
        async with borrowed(self._pool, conn) as connection:
            if await connection.execute(_REFUSE_NEW, key, version) == "DELETE 1":
                return True
            return await connection.execute(_REFUSED, key, version, run_id) == "UPDATE 1"

    async def withdraw(self, key: ConnectionKey, version: int) -> None:
        """Delete a connection again that never was set up and has no newer credentials."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_REFUSE_NEW, key, version)

    async def note_set_up(
        self, key: ConnectionKey, version: int, *, conn: DbConnection | None = None
    ) -> bool:
        """Note that a connection is set up with a version of its credentials.

        Args:
            key: Which connection.
            version: Which credentials.
            conn: Connection whose transaction this joins.

        Returns:
            Whether newer ones came in meanwhile, which are to be set up, too.
        """
        async with borrowed(self._pool, conn) as connection:
            is_due: bool | None = await connection.fetchval(_SET_UP, key, version)
        return bool(is_due)

    async def hold(self, key: ConnectionKey, *, conn: DbConnection) -> bool:
        """Return whether something may begin for a connection.

        Where it may, a deletion of the connection waits for the end of the transaction.

        Args:
            key: Which connection.
            conn: Connection whose transaction this joins.
        """
        return bool(await conn.fetchval(_HELD, key))

    async def unvalidated(self, keys: Sequence[ConnectionKey]) -> set[ConnectionKey]:
        """Return those of which it is not known yet whether they will be kept."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_UNVALIDATED, keys)
        return {row["id"] for row in rows}

    async def begin_deletion(self, key: ConnectionKey) -> bool:
        """Let nothing new begin for a connection; returns whether there is one."""
        async with borrowed(self._pool) as conn:
            return await conn.execute(_BEGIN_DELETION, key) == "UPDATE 1"

    async def awaited(self, *, after: ConnectionKey, limit: int) -> Sequence[AwaitedSetup]:
        """Return connections that are still to be set up, in the order of their keys.

        Args:
            after: Only those with a higher key.
            limit: Most connections to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_AWAITED, after, limit)
        return [AwaitedSetup(*row.values()) for row in rows]

    async def failed_syncs(self, keys: Sequence[ConnectionKey]) -> dict[ConnectionKey, list[str]]:
        """Return the last runs of syncs, where those have failed, by connection."""
        found: dict[ConnectionKey, list[str]] = {}
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_FAILED_SYNCS, keys)
        for row in rows:
            found.setdefault(row["connection_key"], []).append(row["id"])
        return found
