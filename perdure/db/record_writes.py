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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict

import asyncpg

from perdure.db.connections import unknown_connection_key
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.record_changes import announce, name_of
from perdure.db.refusals import refusals
from perdure.ids import BASE_VARIANT, ConnectionKey
from perdure.records.merge import deep_merge
from perdure.records.prepare import (
    PreparedBatch,
    PreparedDeletion,
    PreparedUpdate,
    prepare_batch,
)

__all__ = [
    "NOBODY",
    "BatchNote",
    "BatchResult",
    "CursorMove",
    "ModelCounts",
    "MovedCursor",
    "RecordSet",
    "RecordWriter",
    "Writer",
    "take_turn",
]

# A statement of its own: what the writer before has done is seen only by the next one.
_TURN = """
SELECT pg_advisory_xact_lock(
    hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
"""

# The whole turn in one statement. What stands there is read by `standing_records` once the lock is
# there, because the statement's own snapshot may lie before the predecessor's commit, as a
# transaction's now() may; `moment` hands it the connection for that order's sake. Records that are
# as they stand there are not even touched: a conflict would lock the row, and that writes to its
# page. Only payloads that are written are parsed as JSON, and only then is the connection held.
_SAVE = """
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(
        hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
), moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at, $1::bigint AS connection_key,
           coalesce(pg_sequence_last_value('record_changes'), 0) AS start
      FROM turn
), written AS (
    INSERT INTO records AS r (
        connection_key, model, variant, external_id, payload, payload_hash,
        first_seen_at, last_modified_at, change_seq, last_run_id
    )
    SELECT (SELECT hold_connection($1)), $2, $3,
           u.id, convert_from(u.payload, 'UTF8')::json, u.hash,
           moment.at, moment.at, nextval('record_changes'), $7
      FROM moment, LATERAL ROWS FROM (
               unnest($4::text[]), unnest($5::bytea[]), unnest($6::bytea[]),
               standing_records(moment.connection_key, $2, $3, $4::text[])
           ) AS u (id, payload, hash, standing_hash, is_deleted, is_pruned)
     WHERE u.standing_hash IS NULL OR u.standing_hash <> u.hash OR u.is_deleted OR u.is_pruned
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
     WHERE $8::bigint IS NULL OR r.change_seq <= $8 OR r.last_run_id = $7
    RETURNING external_id,
              first_seen_at = last_modified_at AS added,
              change_seq > (SELECT start FROM moment) AS changed
), counted AS (
    INSERT INTO record_counts AS c (connection_key, model, variant, live)
    SELECT $1, $2, $3, count(*) FROM written WHERE added AND changed HAVING count(*) > 0
    ON CONFLICT (connection_key, model, variant) DO UPDATE SET live = c.live + excluded.live
), seen AS (
    INSERT INTO seen_records (track_id, external_id)
    SELECT t.id, u.id
      FROM delete_tracks t, unnest($4::text[]) AS u (id)
     WHERE t.connection_key = $1 AND t.model = $2 AND t.variant = $3
       AND NOT EXISTS (SELECT FROM written w WHERE w.external_id = u.id AND w.changed)
    ON CONFLICT (track_id, external_id) DO NOTHING
), saw AS (
    UPDATE delete_tracks SET saw_any = true
     WHERE connection_key = $1 AND model = $2 AND variant = $3 AND sync = $9 AND NOT saw_any
), done AS MATERIALIZED (
    SELECT coalesce(array_agg(external_id) FILTER (WHERE added), '{}') AS added,
           coalesce(array_agg(external_id) FILTER (WHERE NOT added), '{}') AS updated
      FROM written WHERE changed
), counts AS MATERIALIZED (
    SELECT cardinality(added) AS added, cardinality(updated) AS updated,
           cardinality($4::text[]) - cardinality(added) - cardinality(updated) AS unchanged
      FROM done
), moved AS (
    UPDATE run_cursors AS c
       SET state = $15, done = $15::bytea IS NULL, pages = c.pages + 1, tries = 0,
           added = c.added + counts.added, updated = c.updated + counts.updated,
           unchanged = c.unchanged + counts.unchanged
      FROM counts
     WHERE c.run_id = $7 AND c.workflow_id = $11::text AND c.number = $12::integer
       AND c.claimed_at = $13::timestamptz AND c.attempt = $14::integer
    RETURNING c.pages, c.added, c.updated, c.deleted, c.unchanged
), noted AS (
    INSERT INTO run_batches AS b (run_id, workflow_id, claimed_at, attempt, names)
    SELECT r.id, $11, $13, $14, ARRAY[$16::text]
      FROM counts, runs r WHERE r.id = $7 AND $16 IS NOT NULL
    ON CONFLICT (run_id, workflow_id) DO UPDATE
       SET claimed_at = excluded.claimed_at, attempt = excluded.attempt,
           names = (b.names || excluded.names)[greatest(cardinality(b.names) - 14, 1):]
     WHERE (b.claimed_at, b.attempt) <= (excluded.claimed_at, excluded.attempt)
    RETURNING $16 = ANY (names[:cardinality(names) - 1]) AS again
), told_run AS (
    UPDATE runs AS r
       SET counts = CASE
               WHEN noted.again OR $16 = ANY (r.counted) THEN r.counts
               ELSE r.counts || jsonb_build_object($2::text, jsonb_build_object(
                   'added',     coalesce((r.counts #>> ARRAY[$2, 'added'])::bigint, 0)
                                + counts.added,
                   'updated',   coalesce((r.counts #>> ARRAY[$2, 'updated'])::bigint, 0)
                                + counts.updated,
                   'deleted',   coalesce((r.counts #>> ARRAY[$2, 'deleted'])::bigint, 0),
                   'unchanged', coalesce((r.counts #>> ARRAY[$2, 'unchanged'])::bigint, 0)
                                + counts.unchanged))
           END
      FROM counts LEFT JOIN noted ON true
     WHERE r.id = $7 AND $11 IS NOT NULL AND r.finished_at IS NULL
    RETURNING r.id
)
SELECT done.added, done.updated,
       CASE WHEN cardinality(done.added) + cardinality(done.updated) > 0
            THEN pg_notify('perdure_records', $10) END AS told,
       CASE WHEN $11 IS NULL THEN NULL
            WHEN NOT EXISTS (SELECT FROM told_run) THEN refuse_write('PD001')
            WHEN NOT EXISTS (SELECT FROM moved) AND NOT EXISTS (SELECT FROM noted)
            THEN refuse_write('PD002') END AS refused,
       moved.pages, moved.added AS all_added, moved.updated AS all_updated,
       moved.deleted AS all_deleted, moved.unchanged AS all_unchanged
  FROM done LEFT JOIN moved ON true
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
class Writer:
    """Who writes.

    Attributes:
        run_id: The run, None outside of runs.
        sync: Name of the sync whose run it is. Only what the sync itself saves says that it saw
            anything at all.
        not_after: Records that others changed after this place in the stream are left alone,
            None where they are not.
    """

    run_id: str | None = None
    sync: str | None = None
    not_after: int | None = None


NOBODY = Writer()
"""Whoever writes from outside of runs."""


@dataclass(frozen=True, slots=True)
class CursorMove:
    """A cursor of the writer's run that moves with a write.

    Attributes:
        workflow_id: See `perdure.db.run_cursors.CursorKey`.
        number: As well.
        claimed_at: See `perdure.db.run_cursors.Claim`.
        attempt: As well.
        state: Where it moves to, encrypted; None is the end.
    """

    workflow_id: str
    number: int
    claimed_at: datetime
    attempt: int
    state: bytes | None


@dataclass(frozen=True, slots=True)
class BatchNote:
    """A batch of the writer's run that is noted with a write: see `perdure.db.run_batches`.

    Attributes:
        workflow_id: The run's workflow, or that of one of its items.
        name: What the batch is known by when it is written again, by a retried run or because its
            answer was lost.
        claimed_at: When Temporal gave the attempt out that writes it.
        attempt: Its number within the step.
    """

    workflow_id: str
    name: str
    claimed_at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class MovedCursor:
    """Where a cursor is after a write.

    Attributes:
        pages: How many pages are saved.
        counts: What became of their records.
    """

    pages: int
    counts: ModelCounts


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a write did, by id.

    Attributes:
        added: New, or back after a deletion.
        updated: There before, with another payload.
        deleted: There before, now marked as deleted.
        unchanged: Already as the batch says.
        unknown: Deleted without having been there; they stand in the stream as deleted.
        ignored: Left alone, because others changed them, or not there to be updated.
        duplicates: Came again in the same batch and were left out.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
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
            return await _save(connection, target, batch, by)

    async def save_page(
        self, target: RecordSet, batch: PreparedBatch, move: CursorMove, *, by: Writer
    ) -> tuple[BatchResult, MovedCursor]:
        """Save the records of a page and move its read's cursor behind it, in one round trip.

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
                row = await _save_row(connection, target, batch, by, move=move)
        counts = ModelCounts(
            added=row["all_added"],
            updated=row["all_updated"],
            deleted=row["all_deleted"],
            unchanged=row["all_unchanged"],
        )
        return _result(batch, row), MovedCursor(row["pages"], counts)

    async def save_batch(
        self, target: RecordSet, batch: PreparedBatch, note: BatchNote, *, by: Writer
    ) -> BatchResult:
        """Save a batch of a script's, note it and count it for its run, in one round trip.

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
                return _result(batch, await _save_row(connection, target, batch, by, note=note))

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
                result = await _save(connection, target, prepare_batch(merged), by)
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
                _DELETE, *_arguments(target, batch, by), deletion.deleted_at
            )
            others = _others(batch, [row["external_id"] for row in rows])
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


async def _save(
    conn: DbConnection, target: RecordSet, batch: PreparedBatch, by: Writer
) -> BatchResult:
    result = _result(batch, await _save_row(conn, target, batch, by))
    ignored = await _protected(conn, target, batch, result.unchanged, by, deleting=False)
    if not ignored:
        return result
    unchanged = tuple(record_id for record_id in result.unchanged if record_id not in ignored)
    return replace(result, unchanged=unchanged, ignored=ignored)


async def _save_row(
    conn: DbConnection,
    target: RecordSet,
    batch: PreparedBatch,
    by: Writer,
    *,
    move: CursorMove | None = None,
    note: BatchNote | None = None,
) -> asyncpg.Record:
    of_run: tuple[object, ...] = (None,) * 6
    if move is not None:
        of_run = (move.workflow_id, move.number, move.claimed_at, move.attempt, move.state, None)
    elif note is not None:
        of_run = (note.workflow_id, None, note.claimed_at, note.attempt, None, note.name)
    rows = await conn.fetch(
        _SAVE, *_arguments(target, batch, by), by.sync, name_of(target), *of_run
    )
    return rows[0]


def _result(batch: PreparedBatch, row: asyncpg.Record) -> BatchResult:
    added, updated = tuple(row["added"]), tuple(row["updated"])
    return BatchResult(
        added=added,
        updated=updated,
        unchanged=_others(batch, (*added, *updated)),
        duplicates=batch.duplicates,
    )


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


def _arguments(target: RecordSet, batch: PreparedBatch, by: Writer) -> tuple[object, ...]:
    return (
        target.connection_key,
        target.model,
        target.variant,
        batch.ids,
        batch.payloads,
        batch.hashes,
        by.run_id,
        by.not_after,
    )


def _others(batch: PreparedBatch, named: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of a batch that are not among the named."""
    if len(named) == len(batch.ids):
        return ()
    known = frozenset(named)
    return tuple(record_id for record_id in batch.ids if record_id not in known)
