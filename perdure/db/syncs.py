"""Syncs of connections: one row for each script and variant that a connection runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from perdure.db.connections import unknown_connection_key
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import BASE_VARIANT, ConnectionKey, EnvironmentId

__all__ = ["Sync", "SyncStore"]

_ENSURE = """
WITH added AS (
    INSERT INTO syncs (connection_key, name, variant) VALUES ($1, $2, $3)
    ON CONFLICT (connection_key, name, variant) DO NOTHING
    RETURNING *
), sync AS (
    SELECT * FROM added
    UNION ALL
    SELECT * FROM syncs WHERE connection_key = $1 AND name = $2 AND variant = $3
     LIMIT 1
)
SELECT s.id, s.connection_key, c.environment_id, i.unique_key, c.connection_id,
       s.name, s.variant, s.frequency, s.last_sync_date, s.created_at
  FROM sync s
  JOIN connections c ON c.id = s.connection_key
  JOIN integrations i ON i.id = c.integration_id
"""

_GET = """
SELECT s.id, s.connection_key, c.environment_id, i.unique_key, c.connection_id,
       s.name, s.variant, s.frequency, s.last_sync_date, s.created_at
  FROM syncs s
  JOIN connections c ON c.id = s.connection_key
  JOIN integrations i ON i.id = c.integration_id
 WHERE s.connection_key = $1 AND s.name = $2 AND s.variant = $3
"""

_LIST = """
SELECT s.id, s.connection_key, c.environment_id, i.unique_key, c.connection_id,
       s.name, s.variant, s.frequency, s.last_sync_date, s.created_at
  FROM syncs s
  JOIN connections c ON c.id = s.connection_key
  JOIN integrations i ON i.id = c.integration_id
 WHERE c.environment_id = $1
   AND ($2::text IS NULL OR i.unique_key = $2)
   AND ($3::bigint IS NULL OR s.connection_key = $3)
   AND ($4::text[] IS NULL OR s.name = ANY ($4))
 ORDER BY i.unique_key, s.connection_key, s.name, s.variant
"""

_OF_CONNECTIONS = """
SELECT s.id, s.connection_key, c.environment_id, i.unique_key, c.connection_id,
       s.name, s.variant, s.frequency, s.last_sync_date, s.created_at
  FROM syncs s
  JOIN connections c ON c.id = s.connection_key
  JOIN integrations i ON i.id = c.integration_id
 WHERE s.connection_key = ANY ($1::bigint[])
 ORDER BY s.connection_key, s.name, s.variant
"""

_ENSURE_ALL = """
INSERT INTO syncs (connection_key, name)
SELECT c.id, wanted.name
  FROM unnest($1::bigint[], $2::text[]) AS wanted (connection_key, name)
  JOIN connections c ON c.id = wanted.connection_key
ON CONFLICT (connection_key, name, variant) DO NOTHING
"""

_LOCK_SYNC = """
SELECT FROM syncs WHERE connection_key = $1 AND name = $2 AND variant = 'base' FOR UPDATE
"""

_CREATE_VARIANT = """
INSERT INTO syncs (connection_key, name, variant)
SELECT $1, $2, $3
 WHERE (SELECT count(*) FROM syncs
         WHERE connection_key = $1 AND name = $2 AND variant <> 'base') < $4
RETURNING id
"""

_SET_FREQUENCY = """
UPDATE syncs SET frequency = $4
 WHERE connection_key = $1 AND name = $2 AND variant = $3
RETURNING id
"""

_SET_LAST_SYNC_DATE = """
UPDATE syncs SET last_sync_date = greatest(last_sync_date, $4), synced_models = $5
 WHERE connection_key = $1 AND name = $2 AND variant = $3
"""

_CLEAR_LAST_SYNC_DATE = """
UPDATE syncs SET last_sync_date = NULL
 WHERE connection_key = $1 AND name = $2 AND variant = $3
"""

# What is made anew under the same name begins at the beginning.
_DELETE = """
WITH gone AS (
    DELETE FROM syncs
     WHERE connection_key = $1 AND name = $2 AND variant = $3
    RETURNING id, connection_key, name, variant
), forgotten AS (
    DELETE FROM checkpoints c
     USING gone g
     WHERE c.connection_key = g.connection_key
       AND c.key IN (
           SELECT kind || ':' || g.name || suffix
             FROM unnest(ARRAY['sync', 'webhook']) AS kind,
                  unnest(ARRAY[':' || g.variant, ':~' || g.variant,
                               CASE WHEN g.variant = 'base' THEN '' END]) AS suffix)
)
SELECT id FROM gone
"""

_DELETE_ALL = """
WITH gone AS (
    DELETE FROM syncs
     WHERE id = ANY ($1::uuid[])
    RETURNING id, connection_key, name, variant
), forgotten AS (
    DELETE FROM checkpoints c
     USING gone g
     WHERE c.connection_key = g.connection_key
       AND c.key IN (
           SELECT kind || ':' || g.name || suffix
             FROM unnest(ARRAY['sync', 'webhook']) AS kind,
                  unnest(ARRAY[':' || g.variant, ':~' || g.variant,
                               CASE WHEN g.variant = 'base' THEN '' END]) AS suffix)
)
SELECT count(*) FROM gone
"""


@dataclass(frozen=True, slots=True)
class Sync:
    """A sync script as one connection runs it, in one variant.

    Attributes:
        id: Stable id that clients see.
        connection_key: Row id of the connection.
        environment_id: Where it belongs.
        integration: Key of the integration.
        connection_id: Name of the connection.
        name: Name of the script.
        variant: `base` unless the sync has variants.
        frequency: Interval that overrides the deployed one, None where it does not.
        last_sync_date: Start of the last successful run, None before the first.
        created_at: When it was made.
    """

    id: UUID
    connection_key: ConnectionKey
    environment_id: EnvironmentId
    integration: str
    connection_id: str
    name: str
    variant: str
    frequency: str | None
    last_sync_date: datetime | None
    created_at: datetime


class SyncStore:
    """Keeps the syncs of connections. What runs when is Temporal's to know, not ours."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ensure(
        self,
        connection_key: ConnectionKey,
        name: str,
        variant: str = BASE_VARIANT,
        *,
        conn: DbConnection | None = None,
    ) -> Sync:
        """Return a sync, and make it first where it is missing.

        Args:
            connection_key: Whose sync.
            name: Name of the script.
            variant: Variant of the sync.
            conn: Connection whose transaction this joins.

        Raises:
            NotFoundError: `unknown_connection`, there is no such connection.
        """
        # A concurrent maker is invisible to the snapshot in which the insert met it; a second
        # look sees it.
        for _ in range(2):
            try:
                async with borrowed(self._pool, conn) as connection:
                    row = await connection.fetchrow(_ENSURE, connection_key, name, variant)
            except asyncpg.ForeignKeyViolationError as error:
                raise unknown_connection_key(connection_key) from error
            if row is not None:
                return Sync(*row.values())
        raise unknown_connection_key(connection_key)

    async def create_variant(
        self, connection_key: ConnectionKey, name: str, variant: str, *, most: int
    ) -> Sync:
        """Make a variant of a sync; it must not exist yet.

        Args:
            connection_key: Whose sync.
            name: Name of the script.
            variant: Name of the variant.
            most: How many variants the sync may have.

        Raises:
            ConflictError: `sync_variant_already_exists` or `resource_capped`.
            NotFoundError: `unknown_connection`.
        """
        await self.ensure(connection_key, name)
        try:
            async with borrowed(self._pool) as conn, conn.transaction():
                # Those who make variants of one sync take turns, so that none is too many.
                await conn.execute(_LOCK_SYNC, connection_key, name)
                made = await conn.fetchval(_CREATE_VARIANT, connection_key, name, variant, most)
        except asyncpg.UniqueViolationError as error:
            msg = f"The sync {name!r} has a variant {variant!r} for this connection already."
            raise ConflictError(msg, code="sync_variant_already_exists") from error
        except asyncpg.ForeignKeyViolationError as error:
            raise unknown_connection_key(connection_key) from error
        if made is None:
            msg = f"The sync {name!r} has {most} variants for this connection; it cannot have more."
            raise ConflictError(msg, code="resource_capped")
        return await self.get(connection_key, name, variant)

    async def get(
        self,
        connection_key: ConnectionKey,
        name: str,
        variant: str = BASE_VARIANT,
        *,
        conn: DbConnection | None = None,
    ) -> Sync:
        """Return a sync.

        Args:
            connection_key: Whose sync.
            name: Name of the script.
            variant: Variant of the sync.
            conn: Connection whose transaction this joins.

        Raises:
            NotFoundError: `unknown_sync`.
        """
        async with borrowed(self._pool, conn) as connection:
            row = await connection.fetchrow(_GET, connection_key, name, variant)
        if row is None:
            raise _unknown(name, variant)
        return Sync(*row.values())

    async def list(
        self,
        environment_id: EnvironmentId,
        *,
        integration: str | None = None,
        connection_key: ConnectionKey | None = None,
        names: Sequence[str] | None = None,
    ) -> Sequence[Sync]:
        """Return the syncs that meet all conditions, by integration, connection and name."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_LIST, environment_id, integration, connection_key, names)
        return [Sync(*row.values()) for row in rows]

    async def of_connections(self, connection_keys: Sequence[ConnectionKey]) -> Sequence[Sync]:
        """Return all syncs of some connections, by connection and name."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_OF_CONNECTIONS, connection_keys)
        return [Sync(*row.values()) for row in rows]

    async def ensure_all(self, wanted: Sequence[tuple[ConnectionKey, str]]) -> None:
        """Make those syncs that are missing, in one statement.

        Args:
            wanted: Connection and name; a connection that does not exist is passed over.
        """
        if not wanted:
            return
        keys, names = zip(*wanted, strict=True)
        async with borrowed(self._pool) as conn:
            await conn.execute(_ENSURE_ALL, keys, names)

    async def set_frequency(
        self,
        connection_key: ConnectionKey,
        name: str,
        frequency: str | None,
        variant: str = BASE_VARIANT,
    ) -> None:
        """Override the deployed interval, or give it force again with None.

        Raises:
            NotFoundError: `unknown_sync`.
        """
        async with borrowed(self._pool) as conn:
            found = await conn.fetchval(_SET_FREQUENCY, connection_key, name, variant, frequency)
        if found is None:
            raise _unknown(name, variant)

    async def set_last_sync_date(
        self,
        connection_key: ConnectionKey,
        name: str,
        started_at: datetime | None,
        variant: str = BASE_VARIANT,
        *,
        models: Sequence[str] | None = None,
        conn: DbConnection | None = None,
    ) -> None:
        """Note the start of a run that succeeded; it never moves back.

        Args:
            connection_key: Whose sync.
            name: Name of the script.
            started_at: Start of the run; None forgets what was noted, so that the next run
                fetches everything.
            variant: Variant of the sync.
            models: Models that the run saved, None where that is not known.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            if started_at is None:
                await connection.execute(_CLEAR_LAST_SYNC_DATE, connection_key, name, variant)
            else:
                await connection.execute(
                    _SET_LAST_SYNC_DATE, connection_key, name, variant, started_at, models
                )

    async def delete(
        self, connection_key: ConnectionKey, name: str, variant: str = BASE_VARIANT
    ) -> None:
        """Delete a sync; its records are not touched.

        Raises:
            NotFoundError: `unknown_sync`.
        """
        async with borrowed(self._pool) as conn:
            if await conn.fetchval(_DELETE, connection_key, name, variant) is None:
                raise _unknown(name, variant)

    async def delete_all(self, ids: Sequence[UUID]) -> None:
        """Delete syncs by their ids, in one statement; those that are gone are passed over."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_DELETE_ALL, ids)


def _unknown(name: str, variant: str) -> NotFoundError:
    shown = name if variant == BASE_VARIANT else f"{name}::{variant}"
    msg = f"The connection has no sync {shown!r}."
    return NotFoundError(msg, code="unknown_sync")
