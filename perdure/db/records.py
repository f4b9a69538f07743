"""The records cache: what connections hold, and the stream of its changes.

Guarantees, per set of records (one connection, model and variant):

- Writers take turns. The lock is taken before the place in the stream is, and lasts until the
  transaction ends, so the order of places is the order of commits: who reads the stream up to a
  cursor has seen every change below it, and nothing appears there later.
- A record whose hash is the one that stands there is not rewritten and does not move.
- A write is one statement: it takes the lock, the clock and the places, and reports what it did.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict

import asyncpg

from perdure.db.connections import unknown_connection_key
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import BASE_VARIANT, ConnectionKey
from perdure.records.cursor import decode_cursor, encode_cursor
from perdure.records.prepare import PreparedBatch
from perdure.records.splice import StoredRecord, records_body, splice

__all__ = [
    "BatchResult",
    "ModelCounts",
    "RecordFilter",
    "RecordPage",
    "RecordSet",
    "RecordStore",
]

# Both writes begin alike: `turn` waits for the lock of the set, and `moment` reads the clock only
# after that, because a transaction's own now() may lie before its predecessor's commit.
_SAVE = """
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(
        hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
), moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at, nextval('record_changes') AS start FROM turn
)
INSERT INTO records AS r (
    connection_key, model, variant, external_id, payload, payload_hash,
    first_seen_at, last_modified_at, change_seq, last_run_id
)
SELECT $1, $2, $3, u.id, u.payload, u.hash,
       moment.at, moment.at, nextval('record_changes'), $7
  FROM moment, unnest($4::text[], $5::json[], $6::bytea[]) AS u (id, payload, hash)
ON CONFLICT (connection_key, model, variant, external_id) DO UPDATE
   SET payload = excluded.payload,
       payload_hash = excluded.payload_hash,
       first_seen_at = CASE
           WHEN r.deleted_at IS NULL THEN r.first_seen_at
           ELSE greatest(excluded.last_modified_at, r.last_modified_at + interval '1 us')
       END,
       -- Only a payload that had been pruned comes back: that is no change of the record.
       last_modified_at = CASE
           WHEN r.payload_hash = excluded.payload_hash AND r.deleted_at IS NULL
           THEN r.last_modified_at
           ELSE greatest(excluded.last_modified_at, r.last_modified_at + interval '1 us')
       END,
       change_seq = CASE
           WHEN r.payload_hash = excluded.payload_hash AND r.deleted_at IS NULL
           THEN r.change_seq
           ELSE excluded.change_seq
       END,
       deleted_at = NULL,
       pruned_at = NULL,
       last_run_id = excluded.last_run_id
 WHERE r.payload_hash <> excluded.payload_hash
    OR r.deleted_at IS NOT NULL
    OR r.pruned_at IS NOT NULL
RETURNING external_id,
          first_seen_at = last_modified_at AS added,
          change_seq > (SELECT start FROM moment) AS changed
"""

_DELETE = """
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(
        hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
), moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at FROM turn
)
INSERT INTO records AS r (
    connection_key, model, variant, external_id, payload, payload_hash,
    first_seen_at, last_modified_at, deleted_at, change_seq, last_run_id
)
SELECT $1, $2, $3, u.id, u.payload, u.hash,
       moment.at, moment.at, moment.at, nextval('record_changes'), $7
  FROM moment, unnest($4::text[], $5::json[], $6::bytea[]) AS u (id, payload, hash)
ON CONFLICT (connection_key, model, variant, external_id) DO UPDATE
   SET last_modified_at =
           greatest(excluded.last_modified_at, r.last_modified_at + interval '1 us'),
       deleted_at = greatest(excluded.last_modified_at, r.last_modified_at + interval '1 us'),
       change_seq = excluded.change_seq,
       last_run_id = excluded.last_run_id
 WHERE r.deleted_at IS NULL
RETURNING external_id, first_seen_at = last_modified_at AS unknown
"""

_LIST = """
SELECT external_id, payload, first_seen_at, last_modified_at, deleted_at, pruned_at, change_seq
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3
   AND change_seq > $4
   AND ($5::timestamptz IS NULL OR last_modified_at >= $5)
   AND ( ($6 AND deleted_at IS NULL AND last_modified_at = first_seen_at)
      OR ($7 AND deleted_at IS NULL AND last_modified_at > first_seen_at)
      OR ($8 AND deleted_at IS NOT NULL) )
 ORDER BY change_seq
 LIMIT $9
"""

_LIST_BY_IDS = """
SELECT external_id, payload, first_seen_at, last_modified_at, deleted_at, pruned_at, change_seq
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3
   AND external_id = ANY ($10::text[])
   AND change_seq > $4
   AND ($5::timestamptz IS NULL OR last_modified_at >= $5)
   AND ( ($6 AND deleted_at IS NULL AND last_modified_at = first_seen_at)
      OR ($7 AND deleted_at IS NULL AND last_modified_at > first_seen_at)
      OR ($8 AND deleted_at IS NOT NULL) )
 ORDER BY change_seq
 LIMIT $9
"""

_COUNT = """
SELECT count(*) FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3 AND deleted_at IS NULL
"""


class RecordFilter(StrEnum):
    """What happened to a record last."""

    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


class ModelCounts(TypedDict):
    """What a write, or a whole run, did to the records of one model."""

    added: int
    updated: int
    deleted: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class RecordSet:
    """The records of one model of one connection, in one variant of a sync."""

    connection_key: ConnectionKey
    model: str
    variant: str = BASE_VARIANT


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a write did, by id.

    Attributes:
        added: New, or back after a deletion.
        updated: There before, with another payload.
        deleted: There before, now marked as deleted.
        unchanged: Already as the batch says.
        unknown: Deleted without having been there; they stand in the stream as deleted.
        duplicates: Came again in the same batch and were left out.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()

    @property
    def counts(self) -> ModelCounts:
        """The numbers that `RunStore.add_counts` takes."""
        return ModelCounts(
            added=len(self.added),
            updated=len(self.updated),
            deleted=len(self.deleted),
            unchanged=len(self.unchanged),
        )


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of the stream, each record a JSON object with its `_nango_metadata`.

    Attributes:
        records: Encoded records in the order of their latest change.
        next_cursor: Cursor of the last record when more follow, else None.
    """

    records: tuple[bytes, ...]
    next_cursor: str | None

    def body(self) -> bytes:
        """Return the JSON body `{"next_cursor":...,"records":[...]}`."""
        return records_body(self.records, self.next_cursor)


class RecordStore:
    """Writes and reads records.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def save(
        self,
        target: RecordSet,
        batch: PreparedBatch,
        *,
        run_id: str | None = None,
        conn: DbConnection | None = None,
    ) -> BatchResult:
        """Add or update records; a deleted one that is saved comes back as added.

        Args:
            target: Where the records belong.
            batch: From `perdure.records.prepare.prepare_batch`.
            run_id: The run that writes; None for a write from outside a run.
            conn: Connection whose transaction the write joins. The set stays locked until that
                transaction ends. Default: a transaction of its own.

        Raises:
            NotFoundError: `unknown_connection`, the connection does not exist any more.
            UnavailableError: Nothing was written; the same call may succeed later.
        """
        rows = await self._write(_SAVE, target, batch, run_id, conn)
        changed = [row for row in rows if row["changed"]]
        return BatchResult(
            added=tuple(row["external_id"] for row in changed if row["added"]),
            updated=tuple(row["external_id"] for row in changed if not row["added"]),
            unchanged=_others(batch, changed),
            duplicates=batch.duplicates,
        )

    async def delete(
        self,
        target: RecordSet,
        batch: PreparedBatch,
        *,
        run_id: str | None = None,
        conn: DbConnection | None = None,
    ) -> BatchResult:
        """Mark records as deleted; their payload stays readable.

        An id that is not known becomes a deleted record without payload, so that whoever follows
        the stream hears of it.

        Args:
            target: Where the records belong.
            batch: From `perdure.records.prepare.prepare_deletion`.
            run_id: As `save`.
            conn: As `save`.

        Raises:
            NotFoundError: `unknown_connection`, the connection does not exist any more.
            UnavailableError: Nothing was written; the same call may succeed later.
        """
        rows = await self._write(_DELETE, target, batch, run_id, conn)
        return BatchResult(
            deleted=tuple(row["external_id"] for row in rows if not row["unknown"]),
            unchanged=_others(batch, rows),
            unknown=tuple(row["external_id"] for row in rows if row["unknown"]),
            duplicates=batch.duplicates,
        )

    async def list(
        self,
        target: RecordSet,
        *,
        after_cursor: str | None = None,
        limit: int = 100,
        filters: Collection[RecordFilter] = tuple(RecordFilter),
        modified_after: datetime | None = None,
        ids: Sequence[str] | None = None,
    ) -> RecordPage:
        """Return records in the order of their latest change, deleted ones included.

        All conditions hold at once.

        Args:
            target: Which records.
            after_cursor: Only changes after this one.
            limit: Most records to return.
            filters: Only records whose last action is one of these.
            modified_after: Only records that changed at this moment or later.
            ids: Only these records.

        Raises:
            InvalidInputError: `invalid_cursor`.
            UnavailableError: Postgres does not answer.
        """
        arguments: list[object] = [
            target.connection_key,
            target.model,
            target.variant,
            decode_cursor(after_cursor) if after_cursor is not None else 0,
            modified_after,
            RecordFilter.ADDED in filters,
            RecordFilter.UPDATED in filters,
            RecordFilter.DELETED in filters,
            limit + 1,
        ]
        async with borrowed(self._pool) as conn:
            if ids is None:
                rows = await conn.fetch(_LIST, *arguments)
            else:
                rows = await conn.fetch(_LIST_BY_IDS, *arguments, ids)
        shown = rows[:limit]
        more = len(rows) > limit
        return RecordPage(
            records=tuple(splice(StoredRecord(*row.values())) for row in shown),
            next_cursor=encode_cursor(shown[-1]["change_seq"]) if more and shown else None,
        )

    async def count(self, target: RecordSet) -> int:
        """Return how many records are there, without the deleted ones.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        async with borrowed(self._pool) as conn:
            count: int = await conn.fetchval(
                _COUNT, target.connection_key, target.model, target.variant
            )
        return count

    async def _write(
        self,
        statement: str,
        target: RecordSet,
        batch: PreparedBatch,
        run_id: str | None,
        conn: DbConnection | None,
    ) -> Sequence[asyncpg.Record]:
        if not batch.ids:
            return []
        try:
            async with borrowed(self._pool, conn) as connection:
                return await connection.fetch(
                    statement,
                    target.connection_key,
                    target.model,
                    target.variant,
                    batch.ids,
                    batch.payloads,
                    batch.hashes,
                    run_id,
                )
        except asyncpg.ForeignKeyViolationError as error:
            raise unknown_connection_key(target.connection_key) from error


def _others(batch: PreparedBatch, rows: Sequence[asyncpg.Record]) -> tuple[str, ...]:
    named = {row["external_id"] for row in rows}
    return tuple(record_id for record_id in batch.ids if record_id not in named)
