"""Giving up what is kept of records: their payloads, or all of what was not synced for long.

A pruned record keeps its id, its hash and its place in the stream, so that whether it changes is
still found out. Payloads go in the order of the stream; `record_counts.pruned_to` notes how far, so
that looking for the next ones costs one look at an index.

Whoever gives up records holds their connection first, as whoever writes them does: its deletion
takes the same rows in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from perdure.db.pool import Pool, borrowed
from perdure.db.record_batches import RecordSet
from perdure.ids import BundleHash
from perdure.records.cursor import decode_cursor

__all__ = ["Pruned", "RecordPruning", "UntouchedSet"]

_LAST_PLACE = 2**63 - 1

# By their very rows: of sets that have just been written Postgres knows no statistics, and might
# go through all of them for each record. A row that was written meanwhile is another one.
_PRUNE = """
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(
        hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
), held AS MATERIALIZED (
    SELECT c.id FROM turn, connections c WHERE c.id = $1 FOR KEY SHARE OF c
), moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at FROM held
), chosen AS MATERIALIZED (
    SELECT r.ctid AS row
      FROM moment, records r
     WHERE r.connection_key = $1 AND r.model = $2 AND r.variant = $3
       AND r.change_seq > 0 AND r.change_seq > $4 AND r.change_seq <= $5
       AND ($6::timestamptz IS NULL OR r.last_modified_at < $6)
       AND r.pruned_at IS NULL
     ORDER BY r.change_seq
     LIMIT $7
), pruned AS (
    UPDATE records r
       SET payload = json_build_object('id', r.external_id), pruned_at = moment.at
      FROM moment
     WHERE r.ctid = ANY (ARRAY(SELECT chosen.row FROM chosen))
    RETURNING r.change_seq
), noted AS (
    UPDATE record_counts
       SET pruned_to = greatest(pruned_to, (SELECT max(change_seq) FROM pruned))
     WHERE connection_key = $1 AND model = $2 AND variant = $3
       AND (SELECT count(*) FROM pruned) > 0
)
SELECT count(*) AS count, max(change_seq) AS last FROM pruned
"""

# In the order of the stream: of whether there is any, Postgres might convince itself by going
# through the whole table.
_HAS_MORE = """
SELECT count(*) > 0
  FROM (SELECT FROM records
         WHERE connection_key = $1 AND model = $2 AND variant = $3
           AND change_seq > 0 AND change_seq > $4 AND change_seq <= $5 AND pruned_at IS NULL
         ORDER BY change_seq
         LIMIT 1) AS next
"""

# The oldest record after the watermark tells whether a set has anything to prune.
_DUE = """
SELECT c.connection_key, c.model, c.variant, c.pruned_to
  FROM record_counts c, LATERAL (
      SELECT r.last_modified_at
        FROM records r
       WHERE r.connection_key = c.connection_key AND r.model = c.model AND r.variant = c.variant
         AND r.change_seq > 0 AND r.change_seq > c.pruned_to
       ORDER BY r.change_seq
       LIMIT 1) oldest
 WHERE (c.connection_key, c.model, c.variant) > ($1, $2, $3) AND oldest.last_modified_at < $4
 ORDER BY c.connection_key, c.model, c.variant
 LIMIT $5
"""

# The newest record of a set tells when it was last written to.
_UNTOUCHED = """
SELECT c.connection_key, c.model, c.variant, e.active_bundle, i.unique_key AS integration
  FROM record_counts c
  JOIN connections n ON n.id = c.connection_key
  JOIN integrations i ON i.id = n.integration_id
  JOIN environments e ON e.id = n.environment_id, LATERAL (
      SELECT r.last_modified_at
        FROM records r
       WHERE r.connection_key = c.connection_key AND r.model = c.model AND r.variant = c.variant
         AND r.change_seq > 0
       ORDER BY r.change_seq DESC
       LIMIT 1) newest
 WHERE (c.connection_key, c.model, c.variant) > ($1, $2, $3) AND newest.last_modified_at < $4
 ORDER BY c.connection_key, c.model, c.variant
 LIMIT $5
"""

# Whoever saves while a set is dropped keeps what was saved: only what is old goes.
_DROP = """
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(
        hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
), held AS MATERIALIZED (
    SELECT c.id FROM turn, connections c WHERE c.id = $1 FOR KEY SHARE OF c
), dropped AS (
    DELETE FROM records
     WHERE ctid = ANY (ARRAY(
         SELECT r.ctid
           FROM held, records r
          WHERE r.connection_key = $1 AND r.model = $2 AND r.variant = $3
            AND r.last_modified_at < $4
          LIMIT $5))
    RETURNING deleted_at IS NULL AS live
), counted AS (
    UPDATE record_counts
       SET live = live - (SELECT count(*) FILTER (WHERE dropped.live) FROM dropped)
     WHERE connection_key = $1 AND model = $2 AND variant = $3
)
SELECT count(*) FROM dropped
"""

_PRUNED_TO = """
SELECT pruned_to FROM record_counts WHERE connection_key = $1 AND model = $2 AND variant = $3
"""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was pruned.

    Attributes:
        count: How many records.
        has_more: Whether further ones up to the same place have a payload.
    """

    count: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class UntouchedSet:
    """A set of records that nobody wrote to for long.

    Attributes:
        records: Which records.
        integration: Key of the connection's integration.
        active_bundle: Bundle of the environment, None before its first deploy.
    """

    records: RecordSet
    integration: str
    active_bundle: BundleHash | None


class RecordPruning:
    """Prunes and drops records, and finds those that are due."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def prune(self, target: RecordSet, *, until_cursor: str, limit: int) -> Pruned:
        """Give up the payloads of records, the oldest changes first.

        Args:
            target: Which records.
            until_cursor: The last change whose record is pruned.
            limit: Most records.

        Raises:
            InvalidInputError: `invalid_cursor`.
            UnavailableError: Nothing was pruned.
        """
        until = decode_cursor(until_cursor)
        key = _key(target)
        async with borrowed(self._pool) as conn:
            start = await conn.fetchval(_PRUNED_TO, *key) or 0
            row = await conn.fetchrow(_PRUNE, *key, start, until, None, limit)
            if start and row and not row["count"]:
                # A payload comes back when its record is saved again, and its place stays.
                row = await conn.fetchrow(_PRUNE, *key, 0, until, None, limit)
            if row is None or not row["count"]:
                return Pruned(0, has_more=False)
            has_more = await conn.fetchval(_HAS_MORE, *key, row["last"], until)
        return Pruned(row["count"], bool(has_more))

    async def prune_older(self, target: RecordSet, before: datetime, *, limit: int) -> int:
        """Give up the payloads of records that did not change since a moment.

        Returns:
            How many records were pruned: fewer than `limit` when none is left.
        """
        key = _key(target)
        async with borrowed(self._pool) as conn:
            start = await conn.fetchval(_PRUNED_TO, *key) or 0
            row = await conn.fetchrow(_PRUNE, *key, start, _LAST_PLACE, before, limit)
        return row["count"] if row else 0

    async def due(
        self, before: datetime, *, after: RecordSet | None = None, limit: int
    ) -> Sequence[RecordSet]:
        """Return sets with records that did not change since a moment and were not pruned.

        Args:
            before: The moment.
            after: The last set of the page before.
            limit: Most sets.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_DUE, *_key(after), before, limit)
        return [RecordSet(row["connection_key"], row["model"], row["variant"]) for row in rows]

    async def untouched(
        self, before: datetime, *, after: RecordSet | None = None, limit: int
    ) -> Sequence[UntouchedSet]:
        """Return sets of which no record changed since a moment.

        Args:
            before: The moment.
            after: The last set of the page before.
            limit: Most sets.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_UNTOUCHED, *_key(after), before, limit)
        return [
            UntouchedSet(
                RecordSet(row["connection_key"], row["model"], row["variant"]),
                row["integration"],
                row["active_bundle"],
            )
            for row in rows
        ]

    async def drop(self, target: RecordSet, before: datetime, *, limit: int) -> int:
        """Remove records that did not change since a moment as if they had never been.

        Returns:
            How many were removed: fewer than `limit` when none is left.
        """
        async with borrowed(self._pool) as conn:
            count: int = await conn.fetchval(_DROP, *_key(target), before, limit)
        return count


def _key(target: RecordSet | None) -> tuple[int, str, str]:
    return (0, "", "") if target is None else (target.connection_key, target.model, target.variant)
