"""Which batches the workflows of a run have written lately, so that each is written in its turn.

A workflow writes its batches one after another. An attempt of one that nobody hears of any more
may live on and come to write when later ones are written already: what it would leave behind is an
older state. So each batch is noted, in the transaction that writes its records, with the attempt
that wrote it, and an older attempt commits nothing any more.
"""

from __future__ import annotations

from perdure.db.pool import DbConnection
from perdure.db.record_writes import BatchNote, ModelCounts
from perdure.db.refusals import attempt_superseded, run_ended

__all__ = ["RunBatchStore"]

# As `perdure.db.record_writes` does in the statement that saves a single batch. Attempts are
# ordered by when they were given out, on Temporal's clock; a batch is given out when the one before
# is written. What is done again was done a moment ago: 16 names are remembered. A conflict sees
# them as they are, where the statement's snapshot may be older.
_NOTE = """
WITH noted AS (
    INSERT INTO run_batches AS b (run_id, workflow_id, claimed_at, attempt, names)
    SELECT id, $8, $9, $10, ARRAY[$7::text] FROM runs WHERE id = $1
    ON CONFLICT (run_id, workflow_id) DO UPDATE
       SET claimed_at = excluded.claimed_at, attempt = excluded.attempt,
           names = (b.names || excluded.names)[greatest(cardinality(b.names) - 14, 1):]
     WHERE (b.claimed_at, b.attempt) <= (excluded.claimed_at, excluded.attempt)
    RETURNING $7 = ANY (names[:cardinality(names) - 1]) AS again
), told_run AS (
    UPDATE runs AS r
       SET counts = CASE
               WHEN noted.again OR $7 = ANY (r.counted) THEN r.counts
               ELSE r.counts || jsonb_build_object($2::text, jsonb_build_object(
                   'added',     coalesce((r.counts #>> ARRAY[$2, 'added'])::bigint, 0) + $3,
                   'updated',   coalesce((r.counts #>> ARRAY[$2, 'updated'])::bigint, 0) + $4,
                   'deleted',   coalesce((r.counts #>> ARRAY[$2, 'deleted'])::bigint, 0) + $5,
                   'unchanged', coalesce((r.counts #>> ARRAY[$2, 'unchanged'])::bigint, 0) + $6))
           END
      FROM (SELECT 1) AS one LEFT JOIN noted ON true
     WHERE r.id = $1 AND r.finished_at IS NULL
    RETURNING 1
)
SELECT EXISTS (SELECT FROM noted) AS is_newest, EXISTS (SELECT FROM told_run) AS run_goes_on
"""


class RunBatchStore:
    """Notes batches that take more than one statement to write."""

    async def note(
        self,
        run_id: str,
        note: BatchNote,
        model: str,
        counts: ModelCounts,
        *,
        conn: DbConnection,
    ) -> None:
        """Note a batch that this transaction has written, and count it for its run, once.

        Args:
            run_id: The run.
            note: The batch.
            model: Model of its records.
            counts: What became of them.
            conn: Connection whose transaction this joins: the one that writes them.

        Raises:
            UnavailableError: `attempt_superseded`, a newer attempt of the workflow has written.
            ConflictError: `run_ended`.
        """
        row = await conn.fetchrow(
            _NOTE,
            run_id,
            model,
            counts["added"],
            counts["updated"],
            counts["deleted"],
            counts["unchanged"],
            note.name,
            note.workflow_id,
            note.claimed_at,
            note.attempt,
        )
        if row is None or not row["run_goes_on"]:
            raise run_ended(run_id)
        if not row["is_newest"]:
            raise attempt_superseded()
