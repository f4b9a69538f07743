"""Which batches the workflows of a run have written lately, so that each is written in its turn.

A workflow writes its batches one after another. An attempt of one that nobody hears of any more
may live on and come to write when later ones are written already: what it would leave behind is an
older state. So each batch is noted, in the transaction that writes its records, with the attempt
that wrote it, and an older attempt commits nothing any more.
"""

from __future__ import annotations

from perdure.db.pool import DbConnection
from perdure.db.record_batches import BatchNote, ModelCounts
from perdure.db.refusals import attempt_superseded, run_ended

__all__ = ["RunBatchStore"]

# Attempts are ordered by when they were given out, on Temporal's clock; a batch is given out when
# the one before is written. What is done again was done a moment ago: few names are remembered.
_NOTE = """
WITH noted AS MATERIALIZED (
    SELECT note_batch($1, $8, $9, $10, $7) AS again
), told_run AS (
    UPDATE runs AS r
       SET counts = CASE
               WHEN noted.again OR $7 = ANY (r.counted) THEN r.counts
               ELSE counts_with(r.counts, $2, $3, $4, $5, $6)
           END
      FROM noted
     WHERE r.id = $1 AND r.finished_at IS NULL
    RETURNING 1
)
SELECT again IS NOT NULL AS is_newest, EXISTS (SELECT FROM told_run) AS run_goes_on
  FROM noted
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
