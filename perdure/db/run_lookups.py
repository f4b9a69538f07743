"""Which runs there are, and how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.run_rows import Run, RunStatus, run_of
from perdure.errors import NotFoundError
from perdure.ids import BASE_VARIANT, ConnectionKey, EnvironmentId

__all__ = ["RunLookups"]

_GET = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE id = $1 AND environment_id = $2
"""

_OF_IDS = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE id = ANY ($1::text[]) AND environment_id = $2
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

_LATEST = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM last_run_of_sync($1, $2, $3)
"""

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

# One that was cancelled has not done what it was for.
_ENDED_OF = """
SELECT workflow_id
  FROM runs
 WHERE connection_key = $1 AND kind = $2 AND status IN ('success', 'failed', 'timeout')
"""

_WORKFLOWS_UNDER_WAY = """
SELECT DISTINCT workflow_id
  FROM runs
 WHERE workflow_id = ANY ($1::text[]) AND status = 'running'
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

_UNSETTLED = """
SELECT id, workflow_id, environment_id, kind, integration, connection_id, connection_key,
       script, variant, bundle_hash, status, started_at, finished_at, counts, error,
       coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM runs
 WHERE status = 'running' AND coalesce(retried_at, started_at) < $1 AND (started_at, id) > ($2, $3)
 ORDER BY started_at, id
 LIMIT $4
"""

_IS_NEWEST = """
SELECT NOT EXISTS (
    SELECT FROM runs
     WHERE connection_key = $1 AND script = $2 AND variant = $3 AND kind = $4
       AND (started_at, id) > ($5, $6))
"""

_IS_NEWEST_OF_ID = """
SELECT NOT EXISTS (
    SELECT FROM runs WHERE workflow_id = $1 AND (started_at, id) > ($2, $3))
"""

_IS_SUPERSEDED = """
SELECT EXISTS (
    SELECT FROM runs r JOIN runs later USING (connection_key, script, variant, kind)
     WHERE r.id = $1 AND r.kind = 'sync' AND (later.started_at, later.id) > (r.started_at, r.id))
"""

_RETRIED_AT = "SELECT retried_at FROM runs WHERE id = $1"


class RunLookups:
    """Looks runs up."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

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

    async def of_ids(
        self, environment_id: EnvironmentId, run_ids: Sequence[str]
    ) -> Mapping[str, Run]:
        """Return those of the runs that are known, by id.

        Args:
            environment_id: Where they belong.
            run_ids: Which runs.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_OF_IDS, list(run_ids), environment_id)
        return {row["id"]: run_of(row) for row in rows}

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

    async def running_of(self, connection_key: ConnectionKey) -> Sequence[Run]:
        """Return the runs of a connection that have not ended, the oldest first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_RUNNING_OF, connection_key)
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
