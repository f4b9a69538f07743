"""How an environment stands as a whole: what its syncs came to, and what ran lately."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from perdure.db.pool import Pool, borrowed
from perdure.ids import EnvironmentId
from perdure.records.canonical import JsonObject

__all__ = ["FailedSync", "Hour", "OverviewStore", "Totals"]

_TOTALS = """
SELECT (SELECT count(*) FROM connections WHERE environment_id = $1) AS connections,
       (SELECT count(*) FROM integrations WHERE environment_id = $1) AS integrations,
       (SELECT coalesce(sum(n.live), 0)::bigint
          FROM connections c JOIN record_counts n ON n.connection_key = c.id
         WHERE c.environment_id = $1) AS records
"""

# The last run of each sync, by the index of a sync's runs.
_LAST_RUNS = """
SELECT coalesce(last.status, 'never') AS status, count(*) AS syncs
  FROM connections c
  JOIN syncs s ON s.connection_key = c.id
  LEFT JOIN LATERAL (
      SELECT r.status
        FROM runs r
       WHERE r.connection_key = c.id AND r.script = s.name AND r.variant = s.variant
         AND r.kind = 'sync' AND NOT r.dry_run
       ORDER BY r.started_at DESC
       LIMIT 1) last ON true
 WHERE c.environment_id = $1
 GROUP BY 1
"""

_FAILED = """
SELECT s.id, i.unique_key AS integration, c.connection_id, s.name, s.variant,
       last.id AS run_id, coalesce(last.finished_at, last.started_at) AS failed_at, last.error
  FROM connections c
  JOIN integrations i ON i.id = c.integration_id
  JOIN syncs s ON s.connection_key = c.id
  CROSS JOIN LATERAL (
      SELECT r.id, r.status, r.started_at, r.finished_at, r.error
        FROM runs r
       WHERE r.connection_key = c.id AND r.script = s.name AND r.variant = s.variant
         AND r.kind = 'sync' AND NOT r.dry_run
       ORDER BY r.started_at DESC
       LIMIT 1) last
 WHERE c.environment_id = $1 AND last.status IN ('failed', 'timeout')
 ORDER BY failed_at DESC
 LIMIT $2
"""

_HOURS = """
WITH hours AS (
    SELECT generate_series(date_trunc('hour', now()) - ($2 - 1) * interval '1 hour',
                           date_trunc('hour', now()), interval '1 hour') AS at
), ran AS (
    SELECT date_trunc('hour', started_at) AS at, status, counts
      FROM runs
     WHERE environment_id = $1 AND NOT dry_run
       AND started_at >= date_trunc('hour', now()) - ($2 - 1) * interval '1 hour'
), told AS (
    SELECT at, count(*) AS runs,
           count(*) FILTER (WHERE status IN ('failed', 'timeout')) AS failed
      FROM ran
     GROUP BY at
), changed AS (
    SELECT ran.at,
           sum((model.counts ->> 'added')::bigint)::bigint AS added,
           sum((model.counts ->> 'updated')::bigint)::bigint AS updated,
           sum((model.counts ->> 'deleted')::bigint)::bigint AS deleted
      FROM ran, jsonb_each(ran.counts) AS model (name, counts)
     GROUP BY ran.at
)
SELECT hours.at, coalesce(told.runs, 0) AS runs, coalesce(told.failed, 0) AS failed,
       coalesce(changed.added, 0) AS added, coalesce(changed.updated, 0) AS updated,
       coalesce(changed.deleted, 0) AS deleted
  FROM hours LEFT JOIN told USING (at) LEFT JOIN changed USING (at)
 ORDER BY hours.at
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is in an environment."""

    connections: int
    integrations: int
    records: int


@dataclass(frozen=True, slots=True)
class FailedSync:
    """A sync whose last run failed.

    Attributes:
        id: The sync.
        run_id: The run that failed.
        error: Why.
    """

    id: UUID
    integration: str
    connection_id: str
    name: str
    variant: str
    run_id: str
    failed_at: datetime
    error: JsonObject | None


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in an hour.

    Attributes:
        at: Its beginning.
        runs: Runs that started in it.
        failed: Those of them that failed.
        added: Records that they added, as the next two by what was done to them.
    """

    at: datetime
    runs: int
    failed: int
    added: int
    updated: int
    deleted: int


class OverviewStore:
    """Looks at an environment as a whole.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def totals(self, environment_id: EnvironmentId) -> Totals:
        """Return how much there is."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_TOTALS, environment_id)
        assert row is not None  # noqa: S101 - a row without a FROM
        return Totals(*row.values())

    async def last_runs(self, environment_id: EnvironmentId) -> dict[str, int]:
        """Return how many syncs there are by the status of their last run, `never` without one."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_LAST_RUNS, environment_id)
        return {row["status"]: row["syncs"] for row in rows}

    async def failed(self, environment_id: EnvironmentId, *, limit: int) -> Sequence[FailedSync]:
        """Return the syncs whose last run failed, those that failed last first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_FAILED, environment_id, limit)
        return [_failed(row) for row in rows]

    async def hours(self, environment_id: EnvironmentId, *, hours: int) -> Sequence[Hour]:
        """Return what happened lately, by hour, the present hour last."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_HOURS, environment_id, hours)
        return [Hour(*row.values()) for row in rows]


def _failed(row: asyncpg.Record) -> FailedSync:
    error = row["error"]
    return FailedSync(**{**row, "error": None if error is None else json.loads(error)})
