"""What providers have sent, what is still to be done about it, and what became of it.

How events and their tasks are written is told in `perdure.db.webhook_arrivals`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.webhook_arrivals import event_aad
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.records.canonical import JsonObject, to_json

__all__ = [
    "EventStatus",
    "EventTask",
    "TaskStatus",
    "WebhookEvent",
    "WebhookEventStore",
]

_NEXT = """
SELECT t.id, t.event_id, t.sync, e.integration, e.types, t.status = 'pending' AS is_pending,
       octet_length(e.body) AS size
  FROM webhook_tasks t JOIN webhook_events e ON e.id = t.event_id
 WHERE t.connection_key = $1 AND t.finished_at IS NULL
 ORDER BY t.id
 LIMIT $2
"""

# Each connection is found with one step into the index, however much lies there.
_OPEN_CONNECTIONS = """
WITH RECURSIVE found AS (
    (SELECT connection_key, id FROM webhook_tasks
      WHERE finished_at IS NULL ORDER BY connection_key, id LIMIT 1)
    UNION ALL
    SELECT next.connection_key, next.id
      FROM found, LATERAL (
          SELECT connection_key, id FROM webhook_tasks
           WHERE finished_at IS NULL AND connection_key > found.connection_key
           ORDER BY connection_key, id LIMIT 1) AS next
)
SELECT t.environment, e.integration, t.connection_id, t.connection_key
  FROM found JOIN webhook_tasks t ON t.id = found.id JOIN webhook_events e ON e.id = t.event_id
 WHERE t.created_at <= now() - $1::interval
 ORDER BY t.id
 LIMIT $2
"""

_TASK = """
SELECT t.id, t.event_id, t.environment, e.environment_id, e.integration, t.connection_key,
       t.connection_id, t.sync, t.status, t.run_id, t.error, t.finished_at, e.headers, e.body
  FROM webhook_tasks t JOIN webhook_events e ON e.id = t.event_id
 WHERE t.id = ANY ($1::bigint[])
"""

# A run that is retried may begin once more; what another one has done is not done again.
_BEGIN = """
UPDATE webhook_tasks SET status = 'running', run_id = $2, finished_at = NULL, error = NULL
 WHERE id = $1 AND (finished_at IS NULL OR run_id = $2)
"""

_CLAIM = """
SELECT t.id, t.status = 'success' AS is_done
  FROM webhook_tasks t JOIN unnest($1::bigint[], $2::text[]) AS mine (id, run_id) USING (id)
 WHERE t.status = 'pending' OR (t.status = 'success' AND t.run_id = mine.run_id)
 ORDER BY t.id
   FOR UPDATE OF t
"""

_END_WELL = """
UPDATE webhook_tasks t SET status = 'success', run_id = mine.run_id, finished_at = $3
  FROM unnest($1::bigint[], $2::text[]) AS mine (id, run_id)
 WHERE t.id = mine.id
"""

_END = """
UPDATE webhook_tasks SET status = $2, error = $3, finished_at = $4
 WHERE id = $1
"""

_END_OPEN = """
UPDATE webhook_tasks SET status = $2, error = $3, finished_at = $4
 WHERE id = $1 AND finished_at IS NULL
RETURNING run_id
"""

_LIST = """
SELECT e.id, e.seq, e.environment_id, e.integration_id, e.integration, e.delivery_id, e.types,
       e.received_at, s.status, s.tasks, s.failed, s.forwarded
  FROM webhook_events e, LATERAL (
      SELECT count(*) AS tasks,
             count(*) FILTER (WHERE t.status IN ('failed', 'timeout', 'cancelled')) AS failed,
             count(*) FILTER (WHERE t.finished_at IS NULL) AS open,
             (SELECT count(*) FROM webhook_deliveries d WHERE d.event_id = e.id) AS forwarded
        FROM webhook_tasks t
       WHERE t.event_id = e.id
  ) AS n, LATERAL (
      SELECT CASE WHEN n.open > 0 THEN 'pending'
                  WHEN n.failed > 0 THEN 'failed'
                  WHEN n.tasks + n.forwarded > 0 THEN 'processed'
                  ELSE 'ignored'
             END AS status,
             n.tasks, n.failed, n.forwarded
  ) AS s
 WHERE e.environment_id = $1
   AND ($2::uuid IS NULL OR e.id = $2)
   AND ($3::text IS NULL OR e.integration = $3)
   AND ($4::text IS NULL OR $4 = ANY (e.types))
   AND ($5::text IS NULL OR s.status = $5)
   AND ($6::text IS NULL OR EXISTS (
       SELECT FROM webhook_tasks t WHERE t.event_id = e.id AND t.connection_id = $6))
   AND ($7::bigint IS NULL OR e.seq < $7)
 ORDER BY e.seq DESC
 LIMIT $8
"""

_TASKS = """
SELECT id, connection_id, sync, status, run_id, error, created_at, finished_at
  FROM webhook_tasks
 WHERE event_id = $1
 ORDER BY id
"""

_CONTENT = "SELECT headers, query, body FROM webhook_events WHERE id = $1"

# What is still to be done, or to be sent on, is kept however old it is.
_DROP_OLD = """
DELETE FROM webhook_events
 WHERE id IN (
     SELECT e.id
       FROM webhook_events e
      WHERE e.received_at < $1
        AND NOT EXISTS (
            SELECT FROM webhook_tasks t WHERE t.event_id = e.id AND t.finished_at IS NULL)
      ORDER BY e.received_at
      LIMIT $2)
"""


class TaskStatus(StrEnum):
    """How a task stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"
    """The connection is gone, or the sync's subscription."""


class EventStatus(StrEnum):
    """How an event stands."""

    PENDING = "pending"
    """Something is still to be done about it, or under way."""

    PROCESSED = "processed"
    FAILED = "failed"
    IGNORED = "ignored"
    """Nobody wanted it."""


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A connection for which something is to be done."""

    environment: str
    integration: str
    connection_id: str
    key: ConnectionKey


@dataclass(frozen=True, slots=True)
class DueTask:
    """A task that is to be done, in the order of its connection.

    Attributes:
        is_pending: Whether nobody has begun with it.
        size: Of the webhook, in bytes.
    """

    id: int
    event_id: UUID
    sync: str
    integration: str
    types: tuple[str, ...]
    is_pending: bool
    size: int


@dataclass(frozen=True, slots=True)
class EventTask:
    """A task as people see it."""

    id: int
    connection_id: str
    sync: str
    status: TaskStatus
    run_id: str | None
    error: JsonObject | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class TaskInFull:
    """A task with the webhook it is about."""

    id: int
    event_id: UUID
    environment: str
    environment_id: EnvironmentId
    integration: str
    connection_key: ConnectionKey
    connection_id: str
    sync: str
    status: TaskStatus
    run_id: str | None
    error: JsonObject | None
    finished_at: datetime | None
    headers: dict[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """An event as people see it, without what it says.

    Attributes:
        seq: Grows in the order in which events came.
        tasks: How many there are.
        failed: How many of them failed.
        forwarded: To how many URLs it was handed on.
    """

    id: UUID
    seq: int
    environment_id: EnvironmentId
    integration_id: int
    integration: str
    delivery_id: str | None
    types: tuple[str, ...]
    received_at: datetime
    status: EventStatus
    tasks: int
    failed: int
    forwarded: int


@dataclass(frozen=True, slots=True)
class EventContent:
    """What a webhook says."""

    headers: dict[str, str]
    query: dict[str, str]
    body: bytes = field(repr=False)


class WebhookEventStore:
    """Keeps what providers have sent.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Decrypts bodies.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def due(self, key: ConnectionKey, limit: int) -> list[DueTask]:
        """Return what is to be done for a connection, or under way, the oldest first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_NEXT, key, limit)
        return [DueTask(*row.values()) for row in rows]

    async def open_connections(self, idle: timedelta, limit: int) -> list[OpenConnection]:
        """Return connections for which something is to be done.

        Args:
            idle: Only those for which it has been for so long.
            limit: Most connections to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_OPEN_CONNECTIONS, idle, limit)
        return [OpenConnection(*row.values()) for row in rows]

    async def task(self, task_id: int) -> TaskInFull | None:
        """Return a task with the webhook it is about, None where it is gone.

        Raises:
            DecryptionError: The key ring cannot read the webhook.
        """
        return (await self.tasks_in_full([task_id])).get(task_id)

    async def tasks_in_full(self, task_ids: Sequence[int]) -> dict[int, TaskInFull]:
        """Return those tasks by id that are there, with the webhooks they are about.

        Raises:
            DecryptionError: The key ring cannot read one of the webhooks.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_TASK, task_ids)
        return {row["id"]: self._in_full(row) for row in rows}

    async def begin(self, task_id: int, run_id: str, *, conn: DbConnection) -> bool:
        """Note that a run works on a task; returns False where another one has ended it."""
        async with borrowed(self._pool, conn) as connection:
            return await connection.execute(_BEGIN, task_id, run_id) == "UPDATE 1"

    async def claim(self, runs: Mapping[int, str], *, conn: DbConnection) -> dict[int, bool]:
        """Keep others from tasks until a transaction ends.

        Args:
            runs: For each task the run that is to have done it.
            conn: Connection in the transaction.

        Returns:
            The tasks that are to be done, with False; those that the very run has done, with True.
            What somebody else has begun with is left out.
        """
        rows = await conn.fetch(_CLAIM, list(runs), list(runs.values()))
        return {row["id"]: row["is_done"] for row in rows}

    async def end_well(
        self, runs: Mapping[int, str], *, finished_at: datetime, conn: DbConnection
    ) -> None:
        """Note that tasks were done.

        Args:
            runs: For each task the run that has done it.
            finished_at: When.
            conn: Connection whose transaction this joins.
        """
        await conn.execute(_END_WELL, list(runs), list(runs.values()), finished_at)

    async def end(
        self,
        task_id: int,
        status: TaskStatus,
        *,
        finished_at: datetime,
        error: Mapping[str, Any] | None = None,
        conn: DbConnection | None = None,
    ) -> None:
        """Note how a task ended.

        Args:
            task_id: Which task.
            status: How.
            finished_at: When.
            error: Why it failed, as a JSON object without secrets.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_END, task_id, status, _encoded(error), finished_at)

    async def end_open(
        self,
        task_id: int,
        status: TaskStatus,
        *,
        finished_at: datetime,
        error: Mapping[str, Any] | None = None,
        conn: DbConnection,
    ) -> str | None:
        """Note how a task ended of which nobody else has; returns the run that worked on it."""
        async with borrowed(self._pool, conn) as connection:
            run_id: str | None = await connection.fetchval(
                _END_OPEN, task_id, status, _encoded(error), finished_at
            )
        return run_id

    def _in_full(self, row: asyncpg.Record) -> TaskInFull:
        values = dict(row.items())
        values["status"] = TaskStatus(values["status"])
        values["error"] = _decoded(values["error"])
        values["headers"] = _decoded(values["headers"])
        values["body"] = self._keyring.decrypt(values["body"], aad=event_aad(values["event_id"]))
        return TaskInFull(**values)

    async def get(self, environment_id: EnvironmentId, event_id: UUID) -> WebhookEvent:
        """Return an event.

        Raises:
            NotFoundError: `unknown_webhook_event`.
        """
        found = await self.list(environment_id, event_id=event_id, limit=1)
        if not found:
            msg = f"There is no webhook event {str(event_id)!r} in this environment."
            raise NotFoundError(msg, code="unknown_webhook_event")
        return found[0]

    async def content(self, event_id: UUID) -> EventContent:
        """Return what an event that exists says.

        Raises:
            DecryptionError: The key ring cannot read it.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_CONTENT, event_id)
        if row is None:
            msg = f"There is no webhook event {str(event_id)!r}."
            raise NotFoundError(msg, code="unknown_webhook_event")
        return EventContent(
            _decoded(row["headers"]),
            _decoded(row["query"]),
            self._keyring.decrypt(row["body"], aad=event_aad(event_id)),
        )

    async def tasks(self, event_id: UUID) -> list[EventTask]:
        """Return the tasks of an event in their order."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_TASKS, event_id)
        return [
            EventTask(
                **{
                    **dict(row.items()),
                    "status": TaskStatus(row["status"]),
                    "error": _decoded(row["error"]),
                }
            )
            for row in rows
        ]

    async def list(
        self,
        environment_id: EnvironmentId,
        *,
        event_id: UUID | None = None,
        integration: str | None = None,
        type: str | None = None,
        status: EventStatus | None = None,
        connection_id: str | None = None,
        before_seq: int | None = None,
        limit: int = 50,
    ) -> Sequence[WebhookEvent]:
        """Return events, newest first; all conditions hold at once.

        Args:
            environment_id: Where they belong.
            event_id: Only this one.
            integration: Only those of this integration.
            type: Only those of this type.
            status: Only those that stand like this.
            connection_id: Only those that are handled for a connection with this name.
            before_seq: Only those that came before this one.
            limit: Most events to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _LIST,
                environment_id,
                event_id,
                integration,
                type,
                status,
                connection_id,
                before_seq,
                limit,
            )
        return [_event(row) for row in rows]

    async def drop_older(self, moment: datetime, *, limit: int) -> int:
        """Remove events that came before a moment and are done with; returns how many."""
        async with borrowed(self._pool) as conn:
            tag = await conn.execute(_DROP_OLD, moment, limit)
        return int(tag.rpartition(" ")[2])


def _event(row: asyncpg.Record) -> WebhookEvent:
    values = dict(row.items())
    values["status"] = EventStatus(values["status"])
    values["types"] = tuple(values["types"])
    return WebhookEvent(**values)


def _encoded(error: Mapping[str, Any] | None) -> bytes | None:
    return None if error is None else to_json(dict(error))


def _decoded(data: bytes | None) -> Any:
    return None if data is None else json.loads(data)
