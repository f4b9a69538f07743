"""How environments stand as a whole: what their syncs came to, and what ran lately."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from perdure.clock import utcnow
from perdure.db.pool import Pool, borrowed
from perdure.ids import EnvironmentId
from perdure.records.canonical import JsonObject

__all__ = ["FailedSync", "Hour", "OverviewStore", "SyncOutcome", "SyncTotals", "Totals"]

_PAST_SECONDS = 300.0

_TOTALS = """
SELECT (SELECT count(*) FROM connections WHERE environment_id = $1) AS connections,
       (SELECT count(*) FROM integrations WHERE environment_id = $1) AS integrations,
       (SELECT coalesce(sum(n.live), 0)::bigint
          FROM connections c JOIN record_counts n ON n.connection_key = c.id
         WHERE c.environment_id = $1) AS records
"""

# The last run of each sync, once for all that is told of them.
_SYNCS = """
WITH last AS MATERIALIZED (
    SELECT s.id, c.id AS connection_key, s.name, s.variant, run.id AS run_id,
           coalesce(run.status, 'never') AS status,
           coalesce(run.finished_at, run.started_at) AS ended_at
      FROM connections c
      JOIN syncs s ON s.connection_key = c.id
      LEFT JOIN LATERAL last_run_of_sync(c.id, s.name, s.variant) run ON true
     WHERE c.environment_id = $1
), counted AS (
    SELECT jsonb_object_agg(status, syncs) AS syncs
      FROM (SELECT status, count(*) AS syncs FROM last GROUP BY status) AS by_status
), failed AS (
    SELECT last.id, i.unique_key AS integration, c.connection_id, last.name, last.variant,
           last.run_id, last.ended_at AS failed_at, r.error
      FROM (SELECT * FROM last
             WHERE status IN ('failed', 'timeout')
             ORDER BY ended_at DESC
             LIMIT $2) last
      JOIN connections c ON c.id = last.connection_key
      JOIN integrations i ON i.id = c.integration_id
      JOIN runs r ON r.id = last.run_id
)
SELECT counted.syncs, failed.*
  FROM counted LEFT JOIN failed ON true
 ORDER BY failed.failed_at DESC
"""

# A run that is under way says nothing yet of how its sync does.
_OUTCOMES = """
SELECT e.name AS environment, i.unique_key AS integration, s.name AS script,
       ended.status AS outcome, count(*) AS syncs
  FROM environments e
  JOIN connections c ON c.environment_id = e.id
  JOIN integrations i ON i.id = c.integration_id
  JOIN syncs s ON s.connection_key = c.id
 CROSS JOIN LATERAL (
    SELECT r.status
      FROM runs r
     WHERE r.connection_key = c.id AND r.script = s.name AND r.variant = s.variant
       AND r.kind = 'sync' AND NOT r.dry_run AND r.status <> 'running'
     ORDER BY r.started_at DESC
     LIMIT 1
 ) ended
 GROUP BY e.name, i.unique_key, s.name, ended.status
"""

# $2 is the beginning of the first hour, $3 the end of the last one.
_HOURS = """
WITH hours AS (
    SELECT generate_series($2::timestamptz, $3::timestamptz - interval '1 hour',
                           interval '1 hour') AS at
), ran AS (
    SELECT date_bin('1 hour', started_at, $2) AS at, status, counts
      FROM runs
     WHERE environment_id = $1 AND NOT dry_run
       AND started_at >= $2 AND started_at < $3
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
class SyncTotals:
    """What the last runs of all syncs of an environment came to.

    Attributes:
        by_status: How many syncs there are by the status of their last run, `never` without one.
        failed: Syncs whose last run failed, those that failed last first.
    """

    by_status: Mapping[str, int]
    failed: Sequence[FailedSync]


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What the last run of a sync came to, for whichever connection.

    Attributes:
        script: The name of the sync.
        outcome: The status that the run ended with.
    """

    environment: str
    integration: str
    script: str
    outcome: str


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
        self._past: dict[tuple[EnvironmentId, int], tuple[float, tuple[Hour, ...]]] = {}

    async def totals(self, environment_id: EnvironmentId) -> Totals:
        """Return how much there is."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_TOTALS, environment_id)
        assert row is not None  # noqa: S101 - a row without a FROM
        return Totals(*row.values())

    async def syncs(self, environment_id: EnvironmentId, *, failures: int) -> SyncTotals:
        """Return what the last runs of all syncs came to.

        Args:
            environment_id: Where they belong.
            failures: Most of the syncs to return whose last run failed.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_SYNCS, environment_id, failures)
        return SyncTotals(
            by_status=rows[0]["syncs"] or {},
            failed=[_failed(row) for row in rows if row["id"] is not None],
        )

    async def outcomes(self) -> dict[SyncOutcome, int]:
        """Return how many syncs of all environments there are, by how their last run ended."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_OUTCOMES)
        return {SyncOutcome(*outcome): syncs for *outcome, syncs in rows}

    async def hours(self, environment_id: EnvironmentId, *, hours: int) -> Sequence[Hour]:
        """Return what happened lately, by hour, the present hour last.

        All but the last two are remembered for some minutes: of a run that started before and
        ends now they are told that much later.
        """
        hour = timedelta(hours=1)
        present = utcnow().replace(minute=0, second=0, microsecond=0)
        first, changing = present - (hours - 1) * hour, present - hour
        key = (environment_id, hours)
        at, past = self._past.get(key, (0.0, ()))
        if not past or past[0].at != first or time.monotonic() - at > _PAST_SECONDS:
            past = await self._hours(environment_id, first, changing)
            self._past[key] = (time.monotonic(), past)
        return [*past, *await self._hours(environment_id, changing, present + hour)]

    async def _hours(
        self, environment_id: EnvironmentId, first: datetime, end: datetime
    ) -> tuple[Hour, ...]:
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_HOURS, environment_id, first, end)
        return tuple(Hour(*row.values()) for row in rows)


def _failed(row: asyncpg.Record) -> FailedSync:
    error = row["error"]
    facts = {name: row[name] for name in FailedSync.__slots__}
    return FailedSync(**{**facts, "error": None if error is None else json.loads(error)})
