"""What providers have sent, and what is to be done about it.

An event and its tasks are written in one transaction, before the provider is answered. A task is
one script for one connection; those of a connection are worked off in the order of their ids.
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
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.records.canonical import JsonObject, to_json

__all__ = [
    "EventStatus",
    "EventTask",
    "NewEvent",
    "NewTask",
    "TaskStatus",
    "WebhookEvent",
    "WebhookEventStore",
    "WebhookTarget",
    "event_aad",
]

# Of two that come at once with one delivery id the second waits for the first one's commit.
_ADD = """
WITH event AS (
    INSERT INTO webhook_events (
        id, environment_id, integration_id, integration, delivery_id, types, headers, query, body
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (integration_id, delivery_id) DO NOTHING
    RETURNING id
), tasks AS (
    INSERT INTO webhook_tasks (event_id, environment, connection_key, connection_id, sync)
    SELECT event.id, $10, connection_key, connection_id, sync
      FROM event, unnest($11::bigint[], $12::text[], $13::text[]) WITH ORDINALITY
           AS u (connection_key, connection_id, sync, number)
     ORDER BY number
)
SELECT id FROM event
"""

_KNOWN = "SELECT id FROM webhook_events WHERE integration_id = $1 AND delivery_id = $2"

_ADD_TASKS = """
INSERT INTO webhook_tasks (event_id, environment, connection_key, connection_id, sync)
SELECT $1, $2, connection_key, connection_id, sync
  FROM unnest($3::bigint[], $4::text[], $5::text[]) WITH ORDINALITY
       AS u (connection_key, connection_id, sync, number)
 ORDER BY number
"""

_ALL = """
SELECT id, connection_id, webhook_url_override FROM connections
 WHERE integration_id = $1 AND deleting_since IS NULL
 ORDER BY id
"""

_BY_NAME = """
SELECT id, connection_id, webhook_url_override FROM connections
 WHERE integration_id = $1 AND connection_id = ANY ($2::text[]) AND deleting_since IS NULL
 ORDER BY id
"""

_BY_METADATA = """
SELECT DISTINCT c.id, c.connection_id, c.webhook_url_override
  FROM unnest($2::jsonb[]) AS wanted (value)
       JOIN connections c ON c.metadata @> wanted.value AND c.integration_id = $1
        AND c.deleting_since IS NULL
 ORDER BY c.id
"""

_BY_CONFIG = """
SELECT DISTINCT c.id, c.connection_id, c.webhook_url_override
  FROM unnest($2::jsonb[]) AS wanted (value)
       JOIN connections c ON c.connection_config @> wanted.value AND c.integration_id = $1
        AND c.deleting_since IS NULL
 ORDER BY c.id
"""

_NEXT = """
SELECT t.id, t.event_id, t.sync, e.integration, e.types
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
 WHERE t.id = $1
"""

_BEGIN = """
UPDATE webhook_tasks SET status = 'running', run_id = $2, finished_at = NULL, error = NULL
 WHERE id = $1
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
class WebhookTarget:
    """A connection that a webhook concerns.

    Attributes:
        key: Its row id.
        connection_id: Its name.
        url_override: Where its own webhooks go, None where they go to its environment's URLs.
    """

    key: ConnectionKey
    connection_id: str
    url_override: str | None


@dataclass(frozen=True, slots=True)
class NewTask:
    """A script that is to handle an event for a connection."""

    connection_key: ConnectionKey
    connection_id: str
    sync: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A webhook that has come.

    Attributes:
        id: Its id.
        environment_id: Where it belongs.
        environment: Name of the environment.
        integration_id: Row id of the integration.
        integration: Key of the integration.
        delivery_id: The provider's name of it, None where there is none.
        types: The names of its type.
        headers: Without credentials.
        query: Parameters that are kept.
        body: As it came.
        tasks: What is to be done about it, in order.
    """

    id: UUID
    environment_id: EnvironmentId
    environment: str
    integration_id: int
    integration: str
    delivery_id: str | None
    types: tuple[str, ...]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = field(repr=False)
    tasks: Sequence[NewTask] = ()


@dataclass(frozen=True, slots=True)
class OpenConnection:
    """A connection for which something is to be done."""

    environment: str
    integration: str
    connection_id: str
    key: ConnectionKey


@dataclass(frozen=True, slots=True)
class DueTask:
    """A task that is to be done, in the order of its connection."""

    id: int
    event_id: UUID
    sync: str
    integration: str
    types: tuple[str, ...]


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
        keyring: Encrypts bodies, bound to their row.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def targets(
        self, integration_id: int, column: str | None, values: Sequence[Any]
    ) -> list[WebhookTarget]:
        """Return connections of an integration in the order in which they were made.

        Those that are being deleted are left out.

        Args:
            integration_id: Row id of the integration.
            column: `connection_id`, `metadata` or `connection_config`; None for all connections.
            values: Names of connections, or objects of which the column has to contain one.
        """
        async with borrowed(self._pool) as conn:
            match column:
                case None:
                    rows = await conn.fetch(_ALL, integration_id)
                case "connection_id":
                    rows = await conn.fetch(_BY_NAME, integration_id, values) if values else []
                case "metadata":
                    rows = await conn.fetch(_BY_METADATA, integration_id, values)
                case _:
                    rows = await conn.fetch(_BY_CONFIG, integration_id, values)
        return [WebhookTarget(*row.values()) for row in rows]

    async def add(self, event: NewEvent, *, conn: DbConnection | None = None) -> UUID | None:
        """Write an event with its tasks; all of it or nothing.

        Args:
            event: The event.
            conn: Connection whose transaction this joins.

        Returns:
            None, or the id of the event that has the same delivery id: nothing was written then.
        """
        async with borrowed(self._pool, conn) as connection:
            added = await connection.fetchval(
                _ADD,
                event.id,
                event.environment_id,
                event.integration_id,
                event.integration,
                event.delivery_id,
                event.types,
                to_json(dict(event.headers)),
                to_json(dict(event.query)),
                self._keyring.encrypt(event.body, aad=event_aad(event.id)),
                event.environment,
                *_columns(event.tasks),
            )
            if added is not None:
                return None
            known: UUID | None = await connection.fetchval(
                _KNOWN, event.integration_id, event.delivery_id
            )
        return known

    async def add_tasks(
        self, event_id: UUID, environment: str, tasks: Sequence[NewTask], *, conn: DbConnection
    ) -> None:
        """Write further tasks of an event.

        Args:
            event_id: Which event.
            environment: Name of its environment.
            tasks: What is to be done, in order.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_ADD_TASKS, event_id, environment, *_columns(tasks))

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
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_TASK, task_id)
        if row is None:
            return None
        values = dict(row.items())
        values["status"] = TaskStatus(values["status"])
        values["error"] = _decoded(values["error"])
        values["headers"] = _decoded(values["headers"])
        values["body"] = self._keyring.decrypt(values["body"], aad=event_aad(values["event_id"]))
        return TaskInFull(**values)

    async def begin(self, task_id: int, run_id: str, *, conn: DbConnection) -> None:
        """Note that a run works on a task."""
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_BEGIN, task_id, run_id)

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
        type: str | None = None,  # noqa: A002 - as people say
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


def _columns(tasks: Sequence[NewTask]) -> tuple[list[ConnectionKey], list[str], list[str]]:
    return (
        [task.connection_key for task in tasks],
        [task.connection_id for task in tasks],
        [task.sync for task in tasks],
    )


def _event(row: asyncpg.Record) -> WebhookEvent:
    values = dict(row.items())
    values["status"] = EventStatus(values["status"])
    values["types"] = tuple(values["types"])
    return WebhookEvent(**values)


def _encoded(error: Mapping[str, Any] | None) -> bytes | None:
    return None if error is None else to_json(dict(error))


def _decoded(data: bytes | None) -> Any:
    return None if data is None else json.loads(data)


def event_aad(event_id: UUID) -> bytes:
    """Return what the ciphertext of a row is bound to."""
    return f"perdure/webhook-event/{event_id}".encode()
