"""Which runs need not be kept any more, and their removal.

A run takes its log along, its cursors, and what it showed where it was dry. Kept however old it is:

- a run that goes on;
- of each sync the last one that succeeded or failed, and what was cancelled since;
- an action that was called with an idempotency key, for as long as the key is known: the same call
  would be another action otherwise;
- a script of a connection that is just being set up or deleted, which would run once more;
- the run that refused a connection's credentials, which the connection tells of;
- a run whose deletions wait for somebody's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from perdure.db.pool import Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["OldRun", "OldRuns", "RunRetention"]

_OLD = """
WITH old AS MATERIALIZED (
    SELECT id, workflow_id, environment_id, kind, connection_key, script, variant, status,
           started_at, finished_at,
           CASE WHEN kind = 'action'
                 AND right(workflow_id, 36) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                THEN right(workflow_id, 36)::uuid END AS action_id
      FROM runs
     WHERE environment_id = $1 AND started_at < $2 AND (started_at, id) > ($3, $4)
     ORDER BY started_at, id
     LIMIT $5)
SELECT id, started_at,
       status <> 'running' AND finished_at < $2
       AND NOT (kind = 'sync'
           AND EXISTS (
               SELECT FROM syncs s
                WHERE s.connection_key = old.connection_key AND s.name = old.script
                  AND s.variant = old.variant)
           AND NOT EXISTS (
               SELECT FROM runs newer
                WHERE newer.connection_key = old.connection_key AND newer.script = old.script
                  AND newer.variant = old.variant AND newer.kind = 'sync'
                  AND newer.started_at >= old.started_at
                  AND (newer.started_at, newer.id) > (old.started_at, old.id)
                  AND newer.status IN ('success', 'failed', 'timeout')))
       AND NOT EXISTS (
           SELECT FROM action_keys k
            WHERE k.environment_id = old.environment_id AND k.id = old.action_id)
       AND NOT EXISTS (
           SELECT FROM connections c
            WHERE c.id = old.connection_key
              AND (c.auth_error_run_id = old.id
                   OR old.kind = 'on-event' AND (c.set_up_version < c.credentials_version
                                                 OR c.deleting_since IS NOT NULL)))
       AND NOT EXISTS (SELECT FROM delete_tracks t WHERE t.held_by = old.id) AS is_due
  FROM old
 ORDER BY started_at, id
"""

# Each looks again: a run that is retried at this moment goes on.
_DROP_LOGS = """
WITH gone AS MATERIALIZED (
    SELECT l.id
      FROM run_logs l JOIN runs r ON r.id = l.run_id
     WHERE l.run_id = ANY ($1::text[]) AND r.finished_at < $2
     LIMIT $3)
DELETE FROM run_logs l USING gone WHERE l.id = gone.id
"""

_DROP = """
WITH gone AS (
    DELETE FROM runs WHERE id = ANY ($1::text[]) AND finished_at < $2 RETURNING id, workflow_id
), overrides AS (
    DELETE FROM script_overrides o
     WHERE o.workflow_id IN (SELECT workflow_id FROM gone)
       AND NOT EXISTS (
           SELECT FROM runs r
            WHERE r.workflow_id = o.workflow_id AND r.id NOT IN (SELECT id FROM gone))
)
SELECT count(*) FROM gone
"""


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run that started long ago: its id, and when."""

    id: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class OldRuns:
    """Some runs that started long ago.

    Attributes:
        due: Ids of those that need not be kept.
        last: The last one that was looked at, None where there are no more.
    """

    due: tuple[str, ...]
    last: OldRun | None


class RunRetention:
    """Finds and removes runs that ended long ago."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def old(
        self,
        environment_id: EnvironmentId,
        before: datetime,
        *,
        after: OldRun | None = None,
        limit: int,
    ) -> OldRuns:
        """Look at runs of an environment, the oldest first.

        Args:
            environment_id: Which environment.
            before: Only those that started before this moment; they are due where they ended then.
            after: `last` of the page before.
            limit: Most runs to look at.
        """
        start = (datetime.min.replace(tzinfo=UTC), "")
        place = (after.started_at, after.id) if after else start
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_OLD, environment_id, before, *place, limit)
        last = OldRun(rows[-1]["id"], rows[-1]["started_at"]) if rows else None
        return OldRuns(tuple(row["id"] for row in rows if row["is_due"]), last)

    async def drop_logs(self, ids: Sequence[str], before: datetime, *, limit: int) -> int:
        """Remove log lines of runs that ended before a moment; returns how many.

        Args:
            ids: The runs.
            before: The moment.
            limit: Most lines.
        """
        async with borrowed(self._pool) as conn:
            tag = await conn.execute(_DROP_LOGS, ids, before, limit)
        return int(tag.rpartition(" ")[2])

    async def drop(self, ids: Sequence[str], before: datetime) -> int:
        """Remove runs that ended before a moment, with all that is theirs; returns how many."""
        async with borrowed(self._pool) as conn:
            count: int = await conn.fetchval(_DROP, ids, before)
        return count
