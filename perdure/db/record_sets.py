"""Sets of records as a whole: which there are, how large they are, and how they are erased."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from perdure.db.pool import Pool, borrowed
from perdure.db.record_batches import RecordSet
from perdure.db.record_writes import take_turn
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId

__all__ = ["CountedSet", "RecordSetStore"]

# From one set to the next by the primary key, whatever the number of records in between.
_SETS = """
WITH RECURSIVE held AS (
    SELECT first.connection_key, first.model, first.variant
      FROM unnest($1::bigint[]) AS wanted (key), LATERAL (
          SELECT connection_key, model, variant
            FROM records
           WHERE connection_key = wanted.key
           ORDER BY model, variant
           LIMIT 1) first
    UNION ALL
    SELECT next.connection_key, next.model, next.variant
      FROM held, LATERAL (
          SELECT r.connection_key, r.model, r.variant
            FROM records r
           WHERE r.connection_key = held.connection_key
             AND (r.model, r.variant) > (held.model, held.variant)
           ORDER BY r.model, r.variant
           LIMIT 1) next
)
SELECT connection_key, model, variant FROM held
"""

# Only under the turn. The deletion of a connection takes the same rows in another order, so the
# connection is held first.
_ERASE = """
WITH held AS MATERIALIZED (
    SELECT id FROM connections WHERE id = $1 FOR KEY SHARE
), erased AS (
    DELETE FROM records
     WHERE ctid = ANY (ARRAY(
         SELECT r.ctid FROM held, records r
          WHERE r.connection_key = $1 AND r.model = $2 AND r.variant = $3
          LIMIT $4))
       AND ($5::text IS NULL OR EXISTS (
           SELECT FROM connections c JOIN environments e ON e.id = c.environment_id
            WHERE c.id = $1 AND e.active_bundle = $5))
       AND NOT EXISTS (
           SELECT FROM syncs
            WHERE connection_key = $1 AND variant = $3 AND name = ANY ($6::text[]))
    RETURNING deleted_at
), counted AS (
    UPDATE record_counts
       SET live = live - (SELECT count(*) FROM erased WHERE deleted_at IS NULL)
     WHERE connection_key = $1 AND model = $2 AND variant = $3
)
SELECT count(*) FROM erased
"""

_SET_TIMEOUT = "SELECT set_config('statement_timeout', $1, true)"

_COUNT_OF_MODEL = """
SELECT count(*)
  FROM integrations i
  JOIN connections c ON c.integration_id = i.id
  JOIN records r ON r.connection_key = c.id
 WHERE i.environment_id = $1 AND i.unique_key = $2 AND r.model = $3 AND r.deleted_at IS NULL
"""

_COUNTS = """
SELECT n.connection_key, i.unique_key AS integration, c.connection_id, n.model, n.variant, n.live
  FROM connections c
  JOIN integrations i ON i.id = c.integration_id
  JOIN record_counts n ON n.connection_key = c.id
 WHERE c.environment_id = $1
   AND ($2::text IS NULL OR i.unique_key = $2)
   AND ($3::text IS NULL OR strpos(lower(c.connection_id), lower($3)) > 0)
   AND n.variant ~ '^[a-zA-Z0-9_-]+$'
   AND (n.connection_key, n.model, n.variant) > ($4, $5, $6)
 ORDER BY n.connection_key, n.model, n.variant
 LIMIT $7
"""


@dataclass(frozen=True, slots=True)
class CountedSet:
    """A set of records, and how many of them are not deleted.

    Attributes:
        connection_key: Row id of its connection.
    """

    connection_key: int
    integration: str
    connection_id: str
    model: str
    variant: str
    live: int

    @property
    def place(self) -> tuple[int, str, str]:
        """Where the next page begins."""
        return self.connection_key, self.model, self.variant


class RecordSetStore:
    """Looks at whole sets of records, and erases them.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, connection_keys: Sequence[ConnectionKey]) -> Sequence[RecordSet]:
        """Return which sets of records connections hold.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_SETS, connection_keys)
        return [RecordSet(*row.values()) for row in rows]

    async def counted(
        self,
        environment_id: EnvironmentId,
        *,
        integration: str | None = None,
        connection: str | None = None,
        after: tuple[int, str, str] = (0, "", ""),
        limit: int,
    ) -> Sequence[CountedSet]:
        """Return the sets of an environment with their sizes; what a run builds anew is left out.

        Args:
            environment_id: Where they belong.
            integration: Only those of this integration.
            connection: Only those with this text in the name of their connection.
            after: `place` of the last one of the page before.
            limit: Most sets to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_COUNTS, environment_id, integration, connection, *after, limit)
        return [CountedSet(*row.values()) for row in rows]

    async def erase(
        self, target: RecordSet, *, bundle: BundleHash | None, keepers: Sequence[str], limit: int
    ) -> int:
        """Remove records as if they had never been; whoever follows the stream is not told.

        Nothing is removed where a deploy has come in between, or where a sync that has a right to
        the records may have saved some of them.

        Args:
            target: Which records.
            bundle: Only while this is the active bundle; None erases whichever it is.
            keepers: Only while the connection has no sync of these names in this variant.
            limit: Most records to remove in this one transaction.

        Returns:
            How many were removed: fewer than `limit` when none is left to remove.

        Raises:
            UnavailableError: Nothing was removed; the same call may succeed later.
        """
        records = (target.connection_key, target.model, target.variant)
        async with borrowed(self._pool) as conn, conn.transaction():
            await take_turn(conn, target)
            erased: int = await conn.fetchval(_ERASE, *records, limit, bundle, keepers)
        return erased

    async def count_by_model(
        self,
        environment_id: EnvironmentId,
        models: Collection[tuple[str, str]],
        *,
        budget: timedelta,
    ) -> dict[tuple[str, str], int | None]:
        """Return how many records all connections of an integration hold of a model.

        Args:
            environment_id: Where they belong.
            models: Key of an integration, and name of a model.
            budget: How long the counting of all may take; each gets its share, and what the ones
                before it have left over.

        Returns:
            The counts; None of a model that takes too long to count.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        counts: dict[tuple[str, str], int | None] = {}
        end = time.monotonic() + budget.total_seconds()
        for done, (integration, model) in enumerate(models):
            share = (end - time.monotonic()) / (len(models) - done)
            counts[integration, model] = await self._count_within(
                share, environment_id, integration, model
            )
        return counts

    async def _count_within(self, seconds: float, *of: object) -> int | None:
        async with borrowed(self._pool) as conn:
            try:
                # Postgres itself ends what takes too long.
                async with conn.transaction(readonly=True):
                    await conn.execute(_SET_TIMEOUT, str(max(1, int(seconds * 1000))))
                    count: int = await conn.fetchval(_COUNT_OF_MODEL, *of)
            except asyncpg.QueryCanceledError:
                return None
        return count
