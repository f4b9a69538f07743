"""How records are saved, updated and marked as deleted.

Guarantees, per set of records (one connection, model and variant):

- Writers take turns. The lock is taken before the place in the stream is, and lasts until the
  transaction ends, so the order of places is the order of commits: who reads the stream up to a
  cursor has seen every change below it, and nothing appears there later. Whoever has the turn of
  a set is the only one who touches its rows, so no two writers ever wait for each other's rows.
- A record whose hash is the one that stands there is not rewritten and does not move.
- `record_counts` moves with the records, in the same statement.
- No record is written for a connection that is gone, and none outlives its connection: who writes
  holds the connection until the transaction ends.
- What a write finds unchanged is noted for the delete tracks that are open, in the same statement;
  what it changes needs no note, since its place in the stream says it.
- The cursor of a read past the script moves with the records of its page, a batch of a script is
  noted with its own, and the run counts them, in the same statement.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import asyncpg

from perdure.db.connections import unknown_connection_key
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.record_batches import (
    NOBODY,
    BatchNote,
    BatchResult,
    CursorMove,
    ModelCounts,
    MovedCursor,
    RecordSet,
    Writer,
)
from perdure.db.record_changes import announce
from perdure.db.record_saves import arguments, left_out, result_of, save_row
from perdure.db.refusals import refusals
from perdure.records.merge import deep_merge
from perdure.records.prepare import (
    PreparedBatch,
    PreparedDeletion,
    PreparedUpdate,
    prepare_batch,
)

__all__ = ["RecordWriter", "take_turn"]

# Of so many sets, the latest, it is known that their last write changed nothing: then the next one
# hardly does.
_SETS_KNOWN = 10_000

# A statement of its own: what the writer before has done is seen only by the next one.
_TURN = """
SELECT pg_advisory_xact_lock(
    hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
"""

# Only under the turn: `gone` is what the statement's snapshot has. OFFSET 0, here and below, has
# each record looked up by its key: of sets that have just been written Postgres knows no
# statistics, and might go through all of them for each.
_DELETE = """
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), gone AS MATERIALIZED (
    SELECT found.external_id
      FROM unnest($4::text[]) AS u (id), LATERAL (
          SELECT external_id, deleted_at
            FROM records
           WHERE connection_key = $1 AND model = $2 AND variant = $3 AND external_id = u.id
          OFFSET 0) found
     WHERE found.deleted_at IS NOT NULL
), written AS (
    INSERT INTO records AS r (
        connection_key, model, variant, external_id, payload, payload_hash,
        first_seen_at, last_modified_at, deleted_at, change_seq, last_run_id
    )
    SELECT (SELECT hold_connection($1)), $2, $3,
           u.id, convert_from(u.payload, 'UTF8')::json, u.hash,
           moment.at, moment.at, coalesce(u.deleted_at, moment.at), nextval('record_changes'), $7
      FROM moment, unnest($4::text[], $5::bytea[], $6::bytea[], $9::timestamptz[])
                   AS u (id, payload, hash, deleted_at)
    ON CONFLICT (connection_key, model, variant, external_id) DO UPDATE
       SET last_modified_at =
               greatest(excluded.last_modified_at, r.last_modified_at + interval '1 us'),
           -- It differs from the moment of the write only where the caller gave one.
           deleted_at = CASE
               WHEN excluded.deleted_at <> excluded.last_modified_at THEN excluded.deleted_at
               ELSE greatest(excluded.last_modified_at, r.last_modified_at + interval '1 us')
           END,
           change_seq = excluded.change_seq,
           last_run_id = excluded.last_run_id
     WHERE (r.deleted_at IS NULL
            OR (excluded.deleted_at <> excluded.last_modified_at
                AND excluded.deleted_at <> r.deleted_at))
       AND ($8::bigint IS NULL OR r.change_seq <= $8 OR r.last_run_id = $7)
    RETURNING external_id,
              first_seen_at = last_modified_at AS unknown,
              external_id IN (SELECT external_id FROM gone) AS was_gone
), counted AS (
    UPDATE record_counts
       SET live = live - (SELECT count(*) FROM written WHERE NOT unknown AND NOT was_gone)
     WHERE connection_key = $1 AND model = $2 AND variant = $3
       AND EXISTS (SELECT FROM written WHERE NOT unknown AND NOT was_gone)
)
SELECT external_id, unknown, was_gone FROM written
"""

_LIVE_PAYLOADS = """
SELECT found.external_id, found.payload
  FROM unnest($4::text[]) AS u (id), LATERAL (
      SELECT external_id, payload, deleted_at
        FROM records
       WHERE connection_key = $1 AND model = $2 AND variant = $3 AND external_id = u.id
      OFFSET 0) found
 WHERE found.deleted_at IS NULL
"""

# Of records that a write left as they were: those that are not as it would have left them.
_PROTECTED = """
SELECT u.id
  FROM unnest($4::text[], $5::bytea[]) AS u (id, hash), LATERAL (
      SELECT payload_hash, deleted_at
        FROM records
       WHERE connection_key = $1 AND model = $2 AND variant = $3 AND external_id = u.id
      OFFSET 0) r
 WHERE (r.deleted_at IS NULL) = $6
    OR (NOT $6 AND r.payload_hash <> u.hash)
"""


async def take_turn(conn: DbConnection, target: RecordSet) -> None:
    """Wait for the turn to write to a set; it lasts until the transaction ends.

    Args:
        conn: Inside a transaction.
        target: The set.
    """
    await conn.execute(_TURN, target.connection_key, target.model, target.variant)


class RecordWriter:
    """Writes records.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._unchanged: OrderedDict[RecordSet, None] = OrderedDict()

    async def save(
        self,
        target: RecordSet,
        batch: PreparedBatch,
        *,
        by: Writer = NOBODY,
        conn: DbConnection | None = None,
    ) -> BatchResult:
        """Add or update records; a deleted one that is saved comes back as added.

        Args:
            target: Where the records belong.
            batch: From `perdure.records.prepare.prepare_batch`.
            by: Who writes.
            conn: Connection whose transaction the write joins. The set stays locked until that
                transaction ends. Default: a transaction of its own.

        Raises:
            NotFoundError: `unknown_connection`, the connection does not exist any more.
            UnavailableError: Nothing was written; the same call may succeed later.
        """
        if not batch.ids:
            return BatchResult(duplicates=batch.duplicates)
        # One statement is a transaction of its own.
        begin = by.not_after is not None
        async with self._writing(target, conn, begin=begin) as connection:
            return await self._save(connection, target, batch, by)

    async def save_page(
        self, target: RecordSet, batch: PreparedBatch, move: CursorMove, *, by: Writer
    ) -> tuple[BatchResult, MovedCursor]:
        """Save the records of a page and move its read's cursor behind it, in one statement.

        Args:
            target: Where the records belong.
            batch: As `save`.
            move: The cursor.
            by: The run whose cursor it is; what it saves is counted. It has no `not_after`.

        Raises:
            UnavailableError: `attempt_superseded`, a newer attempt has the read; or as `save`.
            ConflictError: `run_ended`.
            NotFoundError: As `save`.
        """
        with refusals(by.run_id):
            async with self._writing(target, None, begin=False) as connection:
                row = await self._row(connection, target, batch, by, move=move)
        counts = ModelCounts(
            added=row["all_added"],
            updated=row["all_updated"],
            deleted=row["all_deleted"],
            unchanged=row["all_unchanged"],
        )
        return result_of(batch, row), MovedCursor(row["pages"], counts)

    async def save_batch(
        self, target: RecordSet, batch: PreparedBatch, note: BatchNote, *, by: Writer
    ) -> BatchResult:
        """Save a batch of a script's, note it and count it for its run, in one statement.

        Args:
            target: Where the records belong.
            batch: As `save`; it is not empty.
            note: The batch.
            by: The run whose batch it is. It has no `not_after`.

        Raises:
            UnavailableError: `attempt_superseded`, a newer attempt of the workflow has written; or
                as `save`.
            ConflictError: `run_ended`.
            NotFoundError: As `save`.
        """
        with refusals(by.run_id):
            async with self._writing(target, None, begin=False) as connection:
                return result_of(batch, await self._row(connection, target, batch, by, note=note))

    async def update(
        self,
        target: RecordSet,
        update: PreparedUpdate,
        *,
        by: Writer = NOBODY,
        conn: DbConnection | None = None,
    ) -> BatchResult:
        """Merge fields into records that are there; ids that are not there are ignored.

        What is merged into is the record as it stands when this write has its turn. Of a record
        whose payload was pruned only the given fields are known afterwards.

        Args:
            target: Where the records belong.
            update: From `perdure.records.prepare.prepare_update`.
            by: Who writes.
            conn: As `save`.

        Raises:
            InvalidInputError: `invalid_record`, what comes out cannot be written as JSON.
            UnavailableError: Nothing was written; the same call may succeed later.
        """
        async with self._writing(target, conn) as connection:
            await take_turn(connection, target)
            rows = await connection.fetch(
                _LIVE_PAYLOADS,
                target.connection_key,
                target.model,
                target.variant,
                list(update.partials),
            )
            present = {row["external_id"]: json.loads(row["payload"]) for row in rows}
            merged = [
                {**deep_merge(present[record_id], partial), "id": record_id}
                for record_id, partial in update.partials.items()
                if record_id in present
            ]
            result = BatchResult()
            if merged:
                result = await self._save(connection, target, prepare_batch(merged), by)
        missing = tuple(record_id for record_id in update.partials if record_id not in present)
        return replace(result, ignored=result.ignored + missing, duplicates=update.duplicates)

    async def delete(
        self,
        target: RecordSet,
        deletion: PreparedDeletion,
        *,
        by: Writer = NOBODY,
        conn: DbConnection | None = None,
    ) -> BatchResult:
        """Mark records as deleted; their payload stays readable.

        An id that is not known becomes a deleted record without payload, so that whoever follows
        the stream hears of it. A deleted record whose deletion gets another moment is updated.

        Args:
            target: Where the records belong.
            deletion: From `perdure.records.prepare.prepare_deletion`.
            by: Who writes.
            conn: As `save`.

        Raises:
            NotFoundError: `unknown_connection`, the connection does not exist any more.
            UnavailableError: Nothing was written; the same call may succeed later.
        """
        batch = deletion.batch
        if not batch.ids:
            return BatchResult(duplicates=batch.duplicates)
        async with self._writing(target, conn) as connection:
            await take_turn(connection, target)
            rows = await connection.fetch(
                _DELETE, *arguments(target, batch, by), deletion.deleted_at
            )
            others = left_out(batch, [row["external_id"] for row in rows])
            ignored = await _protected(connection, target, batch, others, by, deleting=True)
            if rows:
                await announce(connection, target)
        known = [row for row in rows if not row["unknown"]]
        return BatchResult(
            updated=tuple(row["external_id"] for row in known if row["was_gone"]),
            deleted=tuple(row["external_id"] for row in known if not row["was_gone"]),
            unchanged=tuple(record_id for record_id in others if record_id not in ignored),
            unknown=tuple(row["external_id"] for row in rows if row["unknown"]),
            ignored=ignored,
            duplicates=batch.duplicates,
        )

    async def _save(
        self, conn: DbConnection, target: RecordSet, batch: PreparedBatch, by: Writer
    ) -> BatchResult:
        result = result_of(batch, await self._row(conn, target, batch, by))
        ignored = await _protected(conn, target, batch, result.unchanged, by, deleting=False)
        if not ignored:
            return result
        unchanged = tuple(record_id for record_id in result.unchanged if record_id not in ignored)
        return replace(result, unchanged=unchanged, ignored=ignored)

    async def _row(
        self,
        conn: DbConnection,
        target: RecordSet,
        batch: PreparedBatch,
        by: Writer,
        *,
        move: CursorMove | None = None,
        note: BatchNote | None = None,
    ) -> asyncpg.Record:
        """Save records; what is likely to be there already is sent only where it is not."""
        save = partial(save_row, conn, target, batch, by, move=move, note=note)
        likely = target in self._unchanged and by.not_after is None
        row = await save(unchanged=True) if likely else None
        if row is None:
            row = await save()
        if row is None:
            msg = "a batch of records was saved, and nothing is known of it"
            raise RuntimeError(msg)
        self._unchanged.pop(target, None)
        if not row["added"] and not row["updated"]:
            self._unchanged[target] = None
            if len(self._unchanged) > _SETS_KNOWN:
                self._unchanged.popitem(last=False)
        return row

    @asynccontextmanager
    async def _writing(
        self, target: RecordSet, conn: DbConnection | None, *, begin: bool = True
    ) -> AsyncIterator[DbConnection]:
        try:
            async with borrowed(self._pool, conn) as connection:
                if conn is not None or not begin:
                    yield connection
                else:
                    async with connection.transaction():
                        yield connection
        except asyncpg.ForeignKeyViolationError as error:
            raise unknown_connection_key(target.connection_key) from error


async def _protected(
    conn: DbConnection,
    target: RecordSet,
    batch: PreparedBatch,
    ids: Sequence[str],
    by: Writer,
    *,
    deleting: bool,
) -> tuple[str, ...]:
    """Return which of some ids the writer was not to touch."""
    if by.not_after is None or not ids:
        return ()
    hashes = dict(zip(batch.ids, batch.hashes, strict=True))
    rows = await conn.fetch(
        _PROTECTED,
        target.connection_key,
        target.model,
        target.variant,
        ids,
        [hashes[record_id] for record_id in ids],
        deleting,
    )
    return tuple(row["id"] for row in rows)
