"""The queue of asynchronous actions: who has its turn, and who waits for it.

Places are given in the order of arrival. Who is let in is decided by one statement at a time for
each environment, so limits and order hold however many decide at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from perdure.db.actions import ActionLimits
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import ConnectionKey, EnvironmentId

__all__ = ["ActionQueue"]

_ENTER = """
INSERT INTO action_queue (workflow_id, environment_id, connection_key, ordered)
VALUES ($1, $2, $3, $4)
ON CONFLICT (workflow_id) DO NOTHING
"""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(format('action_queue/%s', $1::bigint), 0))"

_ADMIT = """
WITH running AS (
    SELECT connection_key, count(*) AS held
      FROM action_queue
     WHERE environment_id = $1 AND admitted_at IS NOT NULL AND ended_at IS NULL
     GROUP BY connection_key
),
waiting AS (
    SELECT q.place, coalesce(r.held, 0)
           + row_number() OVER (PARTITION BY q.connection_key ORDER BY q.place) AS nth
      FROM action_queue q LEFT JOIN running r USING (connection_key)
     WHERE q.environment_id = $1 AND q.admitted_at IS NULL AND q.ended_at IS NULL
       AND (NOT q.ordered OR NOT EXISTS (
           SELECT FROM action_queue earlier
            WHERE earlier.connection_key = q.connection_key AND earlier.ordered
              AND earlier.ended_at IS NULL AND earlier.place < q.place))
)
UPDATE action_queue
   SET admitted_at = now()
 WHERE place IN (
    SELECT place FROM waiting WHERE nth <= $3
     ORDER BY place
     LIMIT greatest($2 - (SELECT coalesce(sum(held), 0) FROM running), 0))
RETURNING place, workflow_id
"""

_HAS_TURN = """
SELECT admitted_at IS NOT NULL AND ended_at IS NULL FROM action_queue WHERE workflow_id = $1
"""

_TURN_AT = "SELECT admitted_at FROM action_queue WHERE workflow_id = $1"

_LEAVE = "UPDATE action_queue SET ended_at = now() WHERE workflow_id = ANY ($1::text[])"

_HAS_PLACE = "SELECT EXISTS (SELECT FROM action_queue WHERE workflow_id = $1)"

_RESUME = """
INSERT INTO action_queue (workflow_id, environment_id, connection_key, ordered, admitted_at)
VALUES ($1, $2, $3, $4, now())
ON CONFLICT (workflow_id) DO UPDATE SET admitted_at = now(), ended_at = NULL
"""

# Kept for a while, so that one that ended before its place was noted does not get another one; and
# for as long as nobody has told of the end.
_FORGET = """
DELETE FROM action_queue q
 WHERE environment_id = $1 AND ended_at < now() - $2::interval
   AND NOT EXISTS (
       SELECT FROM runs WHERE runs.workflow_id = q.workflow_id AND runs.status = 'running')
"""

_HOLDERS = """
SELECT workflow_id
  FROM action_queue
 WHERE environment_id = $1 AND ended_at IS NULL AND admitted_at < now() - $2::interval
 ORDER BY place
"""

_REMEMBERED = timedelta(hours=1)


class ActionQueue:
    """Lets actions in, as far as limits and their order allow."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def enter(
        self,
        workflow_id: str,
        environment_id: EnvironmentId,
        connection_key: ConnectionKey,
        *,
        ordered: bool,
        conn: DbConnection | None = None,
    ) -> None:
        """Give an action a place; it keeps the one it has.

        Args:
            workflow_id: Its workflow.
            environment_id: Where it belongs.
            connection_key: For whom it runs.
            ordered: Whether it waits until the connection's earlier ordered ones have ended.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_ENTER, workflow_id, environment_id, connection_key, ordered)

    async def admit(
        self, environment_id: EnvironmentId, limits: ActionLimits, *, conn: DbConnection
    ) -> list[str]:
        """Let in whoever may run now.

        Args:
            environment_id: Where.
            limits: How many may run.
            conn: Connection in a transaction; nobody else is let in until it ends.

        Returns:
            Workflow ids of those that were let in, in the order of their places.
        """
        await conn.execute(_LOCK, environment_id)
        rows = await conn.fetch(_ADMIT, environment_id, limits.environment, limits.connection)
        return [row["workflow_id"] for row in sorted(rows, key=lambda row: row["place"])]

    async def has_turn(self, workflow_id: str, *, conn: DbConnection | None = None) -> bool:
        """Say whether an action has been let in and has not ended.

        Args:
            workflow_id: Its workflow.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            return bool(await connection.fetchval(_HAS_TURN, workflow_id))

    async def turn_at(self, workflow_id: str) -> datetime | None:
        """Return when an action was let in, None where it waits or has no place."""
        async with borrowed(self._pool) as conn:
            found: datetime | None = await conn.fetchval(_TURN_AT, workflow_id)
        return found

    async def has_place(self, workflow_id: str, *, conn: DbConnection | None = None) -> bool:
        """Say whether an action waits for its turn, has it, or has had it lately.

        That is never so for one that somebody waits for, and always for another one whose run has
        not been noted to have ended.

        Args:
            workflow_id: Its workflow.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            return bool(await connection.fetchval(_HAS_PLACE, workflow_id))

    async def resume(
        self,
        workflow_id: str,
        environment_id: EnvironmentId,
        connection_key: ConnectionKey,
        *,
        ordered: bool,
        conn: DbConnection,
    ) -> None:
        """Give an action its turn that ended and goes on, at once, even over the limits.

        Args:
            workflow_id: Its workflow.
            environment_id: Where it belongs.
            connection_key: For whom it runs.
            ordered: Whether the connection's later ordered ones wait for it.
            conn: Connection whose transaction this joins.
        """
        await conn.execute(_RESUME, workflow_id, environment_id, connection_key, ordered)

    async def leave(
        self, environment_id: EnvironmentId, workflow_ids: Sequence[str], *, conn: DbConnection
    ) -> None:
        """Note that actions have ended, wherever they stood.

        Args:
            environment_id: Where they belong.
            workflow_ids: Their workflows.
            conn: Connection whose transaction this joins.
        """
        await conn.execute(_LEAVE, list(workflow_ids))
        await conn.execute(_FORGET, environment_id, _REMEMBERED)

    async def holders(self, environment_id: EnvironmentId, age: timedelta) -> list[str]:
        """Return the workflows that have had their turn for at least this long."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_HOLDERS, environment_id, age)
        return [row["workflow_id"] for row in rows]
