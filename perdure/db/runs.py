"""Runs of scripts: what ran, how it ended, what it did to records, and what it logged.

It is the history that people read, not what decides what runs: that is Temporal's. Everything
here may be repeated by a retried activity without counting, ending or logging twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import asyncpg

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.records import ModelCounts
from perdure.db.refusals import run_ended
from perdure.errors import NotFoundError
from perdure.ids import BASE_VARIANT, ConnectionKey, EnvironmentId
from perdure.records.canonical import JsonObject, to_json

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
    "run_of",
]

LogLevel: TypeAlias = Literal["debug", "info", "warn", "error"]

_START = """
INSERT INTO runs (
    id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
    script, variant, bundle_hash, started_at, dry_run
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (id) DO NOTHING
"""

_UNSETTLED = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE status = 'running' AND coalesce(retried_at, started_at) < $1 AND (started_at, id) > ($2, $3)
 ORDER BY started_at, id
 LIMIT $4
"""

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

_IS_NEWEST = """
SELECT NOT EXISTS (
    SELECT FROM runs
     WHERE connection_key = $1 AND script = $2 AND variant = $3 AND kind = $4
       AND (started_at, id) > ($5, $6))
"""

_IS_SUPERSEDED = """
SELECT EXISTS (
    SELECT FROM runs r JOIN runs later USING (connection_key, script, variant, kind)
     WHERE r.id = $1 AND r.kind = 'sync' AND (later.started_at, later.id) > (r.started_at, r.id))
"""

_IS_NEWEST_OF_ID = """
SELECT NOT EXISTS (
    SELECT FROM runs WHERE workflow_id = $1 AND (started_at, id) > ($2, $3))
"""

_REOPEN = """
UPDATE runs
   SET status = 'running', finished_at = NULL, error = NULL, bundle_hash = $2, retried_at = now()
 WHERE id = $1
"""

_RETRIED_AT = "SELECT retried_at FROM runs WHERE id = $1"

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

_RUNNING = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE connection_key = $1 AND script = $2 AND variant = $3 AND kind = $4
   AND status = 'running'
 ORDER BY started_at
"""

_RUNNING_OF = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE connection_key = $1 AND status = 'running'
 ORDER BY started_at
"""

_WORKFLOWS_UNDER_WAY = """
SELECT DISTINCT workflow_id
  FROM runs
 WHERE workflow_id = ANY ($1::text[]) AND status = 'running'
"""

# One that was cancelled has not done what it was for.
_ENDED_OF = """
SELECT workflow_id
  FROM runs
 WHERE connection_key = $1 AND kind = $2 AND status IN ('success', 'failed', 'timeout')
"""

_ADD_COUNTS = """
UPDATE runs
   SET counts = counts || jsonb_build_object($2::text, jsonb_build_object(
           'added',     coalesce((counts #>> ARRAY[$2, 'added'])::bigint, 0) + $3,
           'updated',   coalesce((counts #>> ARRAY[$2, 'updated'])::bigint, 0) + $4,
           'deleted',   coalesce((counts #>> ARRAY[$2, 'deleted'])::bigint, 0) + $5,
           'unchanged', coalesce((counts #>> ARRAY[$2, 'unchanged'])::bigint, 0) + $6))
 WHERE id = $1 AND finished_at IS NULL
"""

_GET = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE id = $1 AND environment_id = $2
"""

_OF_WORKFLOW = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE workflow_id = $1
 ORDER BY started_at DESC
 LIMIT 1
"""

_LIST = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE environment_id = $1
   AND ($2::text IS NULL OR kind = $2)
   AND ($3::text IS NULL OR integration = $3)
   AND ($4::text IS NULL OR connection_id = $4)
   AND ($5::text IS NULL OR script = $5)
   AND ($6::text IS NULL OR status = $6)
   AND ($7::timestamptz IS NULL OR (started_at, id) < ($7, $8))
 ORDER BY started_at DESC, id DESC
 LIMIT $9
"""

_LATEST = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE connection_key = $1 AND script = $2 AND variant = $3 AND kind = 'sync'
 ORDER BY started_at DESC
 LIMIT 1
"""

_APPEND_LOGS = """
INSERT INTO run_logs (run_id, environment_id, at, level, message, data, step_id)
SELECT $1, (SELECT environment_id FROM runs WHERE id = $1), at, level, message, data, step_id
  FROM unnest($2::timestamptz[], $3::text[], $4::text[], $5::json[], $6::text[])
       AS u (at, level, message, data, step_id)
ON CONFLICT (run_id, step_id) DO NOTHING
"""

_LOGS = """
SELECT id, at, level, message, data
  FROM run_logs
 WHERE run_id = $1 AND id > $2
 ORDER BY id
 LIMIT $3
"""


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run when it starts.

    Attributes:
        id: Run id in Temporal.
        workflow_id: Workflow id in Temporal.
        environment_id: Where it belongs.
        kind: Workflow type: `sync`, `action`, `on-event`, `webhook`, ...
        script: Name of the script.
        started_at: When it started.
        integration: Key of the integration, None where it has none.
        connection_id: Name of the connection, None where it has none.
        connection_key: Row id of the connection, None where it has none, or only looks what it
            would do: such a run counts for no sync.
        variant: Variant of the sync.
        bundle_hash: The bundle the run is pinned to, None where it executes no script.
        dry_run: Whether it only shows what it would do.
    """

    id: str
    workflow_id: str
    environment_id: EnvironmentId
    kind: str
    script: str
    started_at: datetime
    integration: str | None = None
    connection_id: str | None = None
    connection_key: ConnectionKey | None = None
    variant: str = BASE_VARIANT
    bundle_hash: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that is noted when it has ended well.

    Attributes:
        start: The run as it began.
        counts: What it did to records, by model.
    """

    start: RunStart
    counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run that has just ended.

    Attributes:
        environment: Name of its environment.
        dry_run: Whether it only showed what it would do.
    """

    environment: str
    integration: str | None
    kind: str
    script: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands; the fields that `RunStart` has mean the same here.

    Attributes:
        status: How it stands.
        finished_at: When it ended, None while it runs.
        counts: What it did to records so far, by model.
        error: Why it failed, as a JSON object; None where it did not.
        temporal_run_id: Run id in Temporal: another one than `id` once the run continued as new
            or was reset.
        checkpoints: `from` and `to`, the checkpoint it found and the one it left; None where it
            used none.
    """

    id: str
    workflow_id: str
    environment_id: EnvironmentId
    kind: str
    integration: str | None
    connection_id: str | None
    connection_key: ConnectionKey | None
    script: str
    variant: str
    bundle_hash: str | None
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    counts: dict[str, ModelCounts]
    error: JsonObject | None
    temporal_run_id: str
    checkpoints: JsonObject | None
    dry_run: bool


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a run logs.

    Attributes:
        at: When it was said.
        level: How grave it is.
        message: What it says.
        data: Any JSON value that belongs to it.
        step_id: Names the line within its run; of lines with one name only the first is kept.
            None always writes.
    """

    at: datetime
    level: LogLevel
    message: str
    data: Any = None
    step_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredLogLine:
    """A line as it was logged; `id` grows in the order of writing."""

    id: int
    at: datetime
    level: LogLevel
    message: str
    data: Any


class RunStore:
    """Keeps runs and their logs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

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

    async def is_newest(self, run: Run, *, conn: DbConnection | None = None) -> bool:
        """Say whether no later run of the same sync, or else with the same workflow id, is known.

        Args:
            run: The run.
            conn: Connection whose transaction this joins.
        """
        place = (run.started_at, run.id)
        async with borrowed(self._pool, conn) as connection:
            if run.kind != "sync":
                return bool(await connection.fetchval(_IS_NEWEST_OF_ID, run.workflow_id, *place))
            sync = (run.connection_key, run.script, run.variant, run.kind)
            return bool(await connection.fetchval(_IS_NEWEST, *sync, *place))

    async def is_superseded(self, run_id: str) -> bool:
        """Say whether it is known that a sync has run again since a run of it."""
        async with borrowed(self._pool) as conn:
            return bool(await conn.fetchval(_IS_SUPERSEDED, run_id))

    async def retried_at(self, run_id: str) -> datetime | None:
        """Return when a run was retried last, None where it never was."""
        async with borrowed(self._pool) as conn:
            found: datetime | None = await conn.fetchval(_RETRIED_AT, run_id)
        return found

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
        return _end(row)

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
        return _end(row)

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

    async def get(
        self, environment_id: EnvironmentId, run_id: str, *, conn: DbConnection | None = None
    ) -> Run:
        """Return a run.

        Args:
            environment_id: Where it belongs.
            run_id: Which run.
            conn: Connection whose transaction this joins.

        Raises:
            NotFoundError: `unknown_run`.
        """
        async with borrowed(self._pool, conn) as connection:
            row = await connection.fetchrow(_GET, run_id, environment_id)
        if row is None:
            msg = f"There is no run {run_id!r} in this environment."
            raise NotFoundError(msg, code="unknown_run")
        return run_of(row)

    async def of_workflow(self, workflow_id: str) -> Run | None:
        """Return the newest run with a workflow id, None where none is known."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_OF_WORKFLOW, workflow_id)
        return None if row is None else run_of(row)

    async def latest(
        self, connection_key: ConnectionKey, sync: str, variant: str = BASE_VARIANT
    ) -> Run | None:
        """Return the newest run of a sync for a connection, None before the first."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_LATEST, connection_key, sync, variant)
        return None if row is None else run_of(row)

    async def running(
        self, connection_key: ConnectionKey, kind: str, script: str, variant: str = BASE_VARIANT
    ) -> Sequence[Run]:
        """Return the runs of a script for a connection that have not ended, the oldest first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_RUNNING, connection_key, script, variant, kind)
        return [run_of(row) for row in rows]

    async def ended_of(self, connection_key: ConnectionKey, kind: str) -> Sequence[str]:
        """Return the workflow ids of a connection's runs of a kind that ended by themselves."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_ENDED_OF, connection_key, kind)
        return [row["workflow_id"] for row in rows]

    async def under_way(self, workflow_ids: Sequence[str]) -> frozenset[str]:
        """Return those of the workflow ids whose runs have not ended."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_WORKFLOWS_UNDER_WAY, list(workflow_ids))
        return frozenset(row["workflow_id"] for row in rows)

    async def running_of(self, connection_key: ConnectionKey) -> Sequence[Run]:
        """Return the runs of a connection that have not ended, the oldest first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_RUNNING_OF, connection_key)
        return [run_of(row) for row in rows]

    async def list(
        self,
        environment_id: EnvironmentId,
        *,
        kind: str | None = None,
        integration: str | None = None,
        connection_id: str | None = None,
        script: str | None = None,
        status: RunStatus | None = None,
        before: Run | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """Return runs, newest first; all conditions hold at once.

        Args:
            environment_id: Where they belong.
            kind: Only those of this kind.
            integration: Only those of this integration.
            connection_id: Only those of a connection with this name.
            script: Only those of this script.
            status: Only those that stand like this.
            before: Only those older than this one: the last run of the page before.
            limit: Most runs to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _LIST,
                environment_id,
                kind,
                integration,
                connection_id,
                script,
                status,
                before and before.started_at,
                before and before.id,
                limit,
            )
        return [run_of(row) for row in rows]

    async def unsettled(
        self, before: datetime, *, after: Run | None = None, limit: int
    ) -> Sequence[Run]:
        """Return runs of all environments whose rows say that they are under way, oldest first.

        Args:
            before: Only those that started, or were retried, before this moment.
            after: The last run of the page before.
            limit: Most runs to return.
        """
        start = (datetime.min.replace(tzinfo=UTC), "")
        place = (after.started_at, after.id) if after else start
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_UNSETTLED, before, *place, limit)
        return [run_of(row) for row in rows]

    async def append_logs(
        self, run_id: str, lines: Sequence[LogLine], *, conn: DbConnection | None = None
    ) -> None:
        """Write lines to a run's log, in one statement.

        A line whose `step_id` the run has already is left out, so that a step that is repeated
        after its lines were written does not write them again.

        Raises:
            NotFoundError: `unknown_run`.
        """
        if not lines:
            return
        try:
            async with borrowed(self._pool, conn) as connection:
                await connection.execute(
                    _APPEND_LOGS,
                    run_id,
                    [line.at for line in lines],
                    [line.level for line in lines],
                    [_storable(line.message) for line in lines],
                    [None if line.data is None else to_json(line.data) for line in lines],
                    [line.step_id for line in lines],
                )
        except asyncpg.ForeignKeyViolationError as error:
            msg = f"There is no run {run_id!r}."
            raise NotFoundError(msg, code="unknown_run") from error

    async def logs(
        self, run_id: str, *, after_id: int = 0, limit: int = 1000
    ) -> Sequence[StoredLogLine]:
        """Return lines of a run in the order they were written.

        Args:
            run_id: Which run.
            after_id: Only lines after this one; the last `id` of a page leads to the next.
            limit: Most lines to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_LOGS, run_id, after_id, limit)
        return [
            StoredLogLine(row["id"], row["at"], row["level"], row["message"], _decoded(row["data"]))
            for row in rows
        ]


def _end(row: asyncpg.Record | None) -> RunEnd | None:
    if row is None:
        return None
    environment, integration, kind, script, status, started_at, finished_at, dry_run = row
    return RunEnd(
        environment,
        integration,
        kind,
        script,
        RunStatus(status),
        started_at,
        finished_at,
        dry_run,
    )


def run_of(row: asyncpg.Record) -> Run:
    """Return the run of a row that has its columns, and maybe others."""
    fields = {name: row[name] for name in Run.__slots__}
    fields["status"] = RunStatus(fields["status"])
    fields["error"] = _decoded(fields["error"])
    fields["checkpoints"] = _decoded(fields["checkpoints"])
    return Run(**fields)


def _decoded(data: bytes | None) -> Any:
    return None if data is None else json.loads(data)


def _storable(message: str) -> str:
    # A log line is never a reason to fail: what Postgres text cannot hold is replaced.
    return message.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
