"""Runs of scripts: what ran, how it ended, what it did to records, and what it logged.

It is the history that people read, not what decides what runs: that is Temporal's. Everything
here may be repeated by a retried activity without counting, ending or logging twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from perdure.db.pool import DbConnection, borrowed
from perdure.db.record_batches import ModelCounts
from perdure.db.refusals import run_ended
from perdure.db.run_logs import LogLevel, LogLine, RunLogs, StoredLogLine
from perdure.db.run_lookups import RunLookups
from perdure.db.run_rows import EndedRun, Run, RunEnd, RunStart, RunStatus, end_of, run_of
from perdure.records.canonical import to_json

__all__ = [
    "EndedRun",
    "LogLevel",
    "LogLine",
    "Run",
    "RunEnd",
    "RunStart",
    "RunStatus",
    "RunStore",
    "StoredLogLine",
]

_START = """
INSERT INTO runs (
    id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
    script, variant, bundle_hash, started_at, dry_run
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (id) DO NOTHING
"""

_ADD_ENDED = """
INSERT INTO runs (
    id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
    script, variant, bundle_hash, started_at, dry_run, status, finished_at, counts,
    temporal_run_id
)
SELECT u.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, u.started_at, false, 'success', $11, u.counts,
       $12
  FROM unnest($1::text[], $13::timestamptz[], $14::jsonb[]) AS u (id, started_at, counts)
ON CONFLICT (id) DO NOTHING
"""

_MOVED = "UPDATE runs SET temporal_run_id = $2 WHERE id = $1"

_TAKE_TURN = """
SELECT pg_advisory_xact_lock(
    hashtextextended(format('runs/%s/%s/%s', $1::bigint, $2::text, $3::text), 0))
"""

_UNDER_WAY = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE connection_key = $1 AND script = $2 AND variant = $3 AND kind = $4
   AND status = 'running' AND id <> $5
 ORDER BY started_at DESC
 LIMIT 1
"""

_REOPEN = """
UPDATE runs
   SET status = 'running', finished_at = NULL, error = NULL, bundle_hash = $2, retried_at = now()
 WHERE id = $1
"""

# What tells writes apart that are done again: a run that has succeeded does nothing again.
_FORGET_WRITES = """
WITH batches AS (DELETE FROM run_batches WHERE run_id = $1)
DELETE FROM run_cursors WHERE run_id = $1
"""

_FINISH = """
UPDATE runs r SET status = $2, finished_at = $3, error = $4
  FROM environments e
 WHERE r.id = $1 AND r.finished_at IS NULL AND e.id = r.environment_id
RETURNING e.name, r.integration, r.kind, r.script, r.status, r.started_at, r.finished_at, r.dry_run
"""

# The setting holds for the statement's own transaction, whose commit then waits for no disk.
_NOTE_END = """
WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE runs r SET status = $2, finished_at = $3, error = $4
  FROM unhurried, environments e
 WHERE r.id = $1 AND r.finished_at IS NULL AND e.id = r.environment_id
RETURNING e.name, r.integration, r.kind, r.script, r.status, r.started_at, r.finished_at, r.dry_run
"""

_ADD_COUNTS = """
UPDATE runs
   SET counts = counts_with(counts, $2, $3, $4, $5, $6)
 WHERE id = $1 AND finished_at IS NULL
"""


class RunStore(RunLookups, RunLogs):
    """Keeps runs and their logs."""

    async def start(self, run: RunStart, *, conn: DbConnection | None = None) -> None:
        """Note that a run has started; saying so again changes nothing.

        Args:
            run: The run.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(
                _START,
                run.id,
                run.workflow_id,
                run.environment_id,
                run.kind,
                run.integration,
                run.connection_id,
                run.connection_key,
                run.script,
                run.variant,
                run.bundle_hash,
                run.started_at,
                run.dry_run,
            )

    async def add_ended(
        self,
        runs: Sequence[EndedRun],
        *,
        finished_at: datetime,
        temporal_run_id: str,
        conn: DbConnection,
    ) -> None:
        """Note runs that one execution has brought to a good end, in one statement.

        Args:
            runs: The runs, at least one. They differ in id, start and counts alone.
            finished_at: When they ended.
            temporal_run_id: Run id of the execution in Temporal.
            conn: Connection whose transaction this joins.
        """
        same = runs[0].start
        await conn.execute(
            _ADD_ENDED,
            [run.start.id for run in runs],
            same.workflow_id,
            same.environment_id,
            same.kind,
            same.integration,
            same.connection_id,
            same.connection_key,
            same.script,
            same.variant,
            same.bundle_hash,
            finished_at,
            temporal_run_id,
            [run.start.started_at for run in runs],
            [dict(run.counts) for run in runs],
        )

    async def moved(
        self, run_id: str, temporal_run_id: str, *, conn: DbConnection | None = None
    ) -> None:
        """Note by which id Temporal knows a run since it continued as new or was reset.

        Args:
            run_id: Which run.
            temporal_run_id: Run id of its newest execution.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_MOVED, run_id, temporal_run_id)

    async def start_alone(self, run: RunStart, *, conn: DbConnection) -> Run | None:
        """Note that a run of a sync has started, unless another one of the sync is under way.

        Args:
            run: The run.
            conn: Connection whose transaction this joins; runs of the sync take turns until it
                ends.

        Returns:
            The other one, None where there is none and the run has been noted.
        """
        sync = (run.connection_key, run.script, run.variant)
        await conn.execute(_TAKE_TURN, *sync)
        other = await conn.fetchrow(_UNDER_WAY, *sync, run.kind, run.id)
        if other is not None:
            return run_of(other)
        await self.start(run, conn=conn)
        return None

    async def reopen(
        self, run: Run, bundle_hash: str | None, *, conn: DbConnection | None = None
    ) -> bool:
        """Note that a run that ended goes on; what it did so far still counts.

        Args:
            run: The run.
            bundle_hash: The bundle that it executes from now on.
            conn: Connection whose transaction this joins.

        Returns:
            Whether it does; False for one that is not the newest.
        """
        async with borrowed(self._pool, conn) as connection, connection.transaction():
            if run.kind == "sync":
                sync = (run.connection_key, run.script, run.variant)
                await connection.execute(_TAKE_TURN, *sync)
            newest = await self.is_newest(run, conn=connection)
            if newest:
                await connection.execute(_REOPEN, run.id, bundle_hash)
        return newest

    async def finish(
        self,
        run_id: str,
        status: RunStatus,
        *,
        finished_at: datetime,
        error: Mapping[str, Any] | None = None,
        conn: DbConnection | None = None,
    ) -> RunEnd | None:
        """Note how a run ended. The first end counts.

        Args:
            run_id: Which run.
            status: Any but `running`.
            finished_at: When it ended.
            error: Why it failed, as a JSON object without secrets.
            conn: Connection whose transaction this joins.

        Returns:
            The end; None where there was one before, and for a run that is not known.
        """
        encoded = None if error is None else to_json(dict(error))
        async with borrowed(self._pool, conn) as connection:
            if status is RunStatus.SUCCESS:
                # Before the run's own row, as writes have it.
                await connection.execute(_FORGET_WRITES, run_id)
            row = await connection.fetchrow(_FINISH, run_id, status, finished_at, encoded)
        return end_of(row)

    async def note_end(
        self,
        run_id: str,
        status: RunStatus,
        *,
        finished_at: datetime,
        error: Mapping[str, Any] | None = None,
    ) -> RunEnd | None:
        """Do as `finish` while somebody waits: readers see it at once, the disk a moment later.

        Only for what Temporal can be asked for. If the machine loses its power in that moment, the
        run is found unsettled, and maintenance settles it.
        """
        encoded = None if error is None else to_json(dict(error))
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(_NOTE_END, run_id, status, finished_at, encoded)
        return end_of(row)

    async def add_counts(
        self,
        run_id: str,
        model: str,
        counts: ModelCounts,
        *,
        conn: DbConnection | None = None,
    ) -> None:
        """Add to what a run did to the records of a model.

        Args:
            run_id: Which run.
            model: Name of the model.
            counts: `BatchResult.counts` of one write.
            conn: Connection whose transaction this joins: with the write itself in the same
                transaction, a retried step counts its changes once, and a step that outlives its
                run writes nothing.

        Raises:
            ConflictError: `run_ended`.
        """
        async with borrowed(self._pool, conn) as connection:
            tag = await connection.execute(
                _ADD_COUNTS,
                run_id,
                model,
                counts["added"],
                counts["updated"],
                counts["deleted"],
                counts["unchanged"],
            )
        if tag != "UPDATE 1":
            raise run_ended(run_id)
