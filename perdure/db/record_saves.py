"""The statement that saves records, with all that moves with them.

It keeps what `perdure.db.record_writes` promises: the records, their number, what open delete
tracks have seen, the cursor or the batch of the run and what the run counts, all at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from perdure.db.pool import DbConnection
from perdure.db.record_batches import BatchNote, BatchResult, CursorMove, RecordSet, Writer
from perdure.db.record_changes import name_of
from perdure.records.prepare import PreparedBatch

__all__ = ["arguments", "left_out", "result_of", "save_row"]

# The whole turn in one statement. What stands there is read by `standing_records` once the lock is
# there, because the statement's own snapshot may lie before the predecessor's commit, as a
# transaction's now() may; `moment` hands it the connection for that order's sake.
_TURN = """
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(
        hashtextextended(format('records/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
), moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at, $1::bigint AS connection_key,
           coalesce(pg_sequence_last_value('record_changes'), 0) AS start
      FROM turn
"""

# Records that are as they stand there are not even touched: a conflict would lock the row, and that
# writes to its page. Only payloads that are written are parsed as JSON, and only then is the
# connection held.
_WRITTEN = """
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
"""

# Where not all records are as they stand there, or some are not to be touched, it has no row, and
# nothing has been done. It is sent without payloads; $5 stands here for its type. What it looks at
# hangs on `moment`, so that it looks once it has the turn.
_UNCHANGED = """
), counts AS MATERIALIZED (
    SELECT 0 AS added, 0 AS updated, cardinality($4::text[]) AS unchanged
      FROM moment
     WHERE $5::bytea[] IS NULL AND $8::bigint IS NULL
       AND NOT EXISTS (
           SELECT
             FROM ROWS FROM (
                      unnest($6::bytea[]),
                      standing_records(moment.connection_key, $2, $3, $4::text[])
                  ) AS u (hash, standing_hash, is_deleted, is_pruned)
            WHERE u.standing_hash IS NULL OR u.standing_hash <> u.hash
               OR u.is_deleted OR u.is_pruned)
), done AS (
    SELECT '{}'::text[] AS added, '{}'::text[] AS updated FROM counts
), seen AS (
    INSERT INTO seen_records (track_id, external_id)
    SELECT t.id, u.id
      FROM counts, delete_tracks t, unnest($4::text[]) AS u (id)
     WHERE t.connection_key = $1 AND t.model = $2 AND t.variant = $3
    ON CONFLICT (track_id, external_id) DO NOTHING
), saw AS (
    UPDATE delete_tracks SET saw_any = true
      FROM counts
     WHERE connection_key = $1 AND model = $2 AND variant = $3 AND sync = $9 AND NOT saw_any
"""

_OF_RUN = """
), moved AS (
    UPDATE run_cursors AS c
       SET state = $15, done = $15::bytea IS NULL, pages = c.pages + 1, tries = 0,
           added = c.added + counts.added, updated = c.updated + counts.updated,
           unchanged = c.unchanged + counts.unchanged
      FROM counts
     WHERE c.run_id = $7 AND c.workflow_id = $11::text AND c.number = $12::integer
       AND c.claimed_at = $13::timestamptz AND c.attempt = $14::integer
    RETURNING c.pages, c.added, c.updated, c.deleted, c.unchanged
), noted AS MATERIALIZED (
    SELECT note_batch($7, $11, $13, $14, $16::text) AS again FROM counts WHERE $16 IS NOT NULL
), told_run AS (
    UPDATE runs AS r
       SET counts = CASE
               WHEN noted.again OR $16 = ANY (r.counted) THEN r.counts
               ELSE counts_with(r.counts, $2, counts.added, counts.updated, 0, counts.unchanged)
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
            WHEN NOT EXISTS (SELECT FROM moved)
             AND NOT EXISTS (SELECT FROM noted WHERE again IS NOT NULL)
            THEN refuse_write('PD002') END AS refused,
       moved.pages, moved.added AS all_added, moved.updated AS all_updated,
       moved.deleted AS all_deleted, moved.unchanged AS all_unchanged
  FROM done LEFT JOIN moved ON true
"""

_SAVE = _TURN + _WRITTEN + _OF_RUN
_SAVE_UNCHANGED = _TURN + _UNCHANGED + _OF_RUN


async def save_row(
    conn: DbConnection,
    target: RecordSet,
    batch: PreparedBatch,
    by: Writer,
    *,
    move: CursorMove | None = None,
    note: BatchNote | None = None,
    unchanged: bool = False,
) -> asyncpg.Record | None:
    """Save records in a set's turn and return the statement's row.

    Args:
        conn: Where; outside of a transaction the statement is one of its own.
        target: Where the records belong.
        batch: The records, at least one.
        by: Who writes.
        move: The cursor that moves along; instead of `note`.
        note: The batch that is noted along.
        unchanged: Take all of them for unchanged, and send no payloads. Where one has changed, or
            the writer has a `not_after`, nothing is done, and None is returned.
    """
    of_run: tuple[object, ...] = (None,) * 6
    if move is not None:
        of_run = (move.workflow_id, move.number, move.claimed_at, move.attempt, move.state, None)
    elif note is not None:
        of_run = (note.workflow_id, None, note.claimed_at, note.attempt, None, note.name)
    *whose, payloads, hashes, run_id, not_after = arguments(target, batch, by)
    rows = await conn.fetch(
        _SAVE_UNCHANGED if unchanged else _SAVE,
        *(*whose, None if unchanged else payloads, hashes, run_id, not_after),
        *(by.sync, name_of(target), *of_run),
    )
    return rows[0] if rows else None


def result_of(batch: PreparedBatch, row: asyncpg.Record) -> BatchResult:
    """Return what `save_row` did."""
    added, updated = tuple(row["added"]), tuple(row["updated"])
    return BatchResult(
        added=added,
        updated=updated,
        unchanged=left_out(batch, (*added, *updated)),
        duplicates=batch.duplicates,
    )


def arguments(target: RecordSet, batch: PreparedBatch, by: Writer) -> tuple[object, ...]:
    """Return $1 to $8 of a statement that writes records."""
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


def left_out(batch: PreparedBatch, named: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of a batch that are not among the named."""
    if len(named) == len(batch.ids):
        return ()
    known = frozenset(named)
    return tuple(record_id for record_id in batch.ids if record_id not in known)
