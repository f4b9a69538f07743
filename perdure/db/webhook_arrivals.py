"""Webhooks of providers as they come in: whom they concern, and what is to be done about them.

They may come by the thousand, so everything here takes many of them in one statement. An event
and its tasks are written in one transaction, before the provider is answered. A task is one
script for one connection; those of a connection are worked off in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.records.canonical import to_json

__all__ = [
    "NewEvent",
    "NewTask",
    "WantedTargets",
    "WebhookArrivalStore",
    "WebhookTarget",
    "event_aad",
]

# Of two that come at once with one delivery id the second waits for the first one's commit.
_ADD = """
WITH given AS (
    SELECT *
      FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::json[],
                  $7::json[], $8::json[], $9::bytea[]) WITH ORDINALITY
           AS u (id, environment_id, integration_id, integration, delivery_id, types, headers,
                 query, body, number)
), event AS (
    INSERT INTO webhook_events (
        id, environment_id, integration_id, integration, delivery_id, types, headers, query, body
    )
    SELECT id, environment_id, integration_id, integration, delivery_id,
           ARRAY(SELECT t.type
                   FROM json_array_elements_text(types) WITH ORDINALITY AS t (type, place)
                  ORDER BY t.place),
           headers, query, body
      FROM given
     ORDER BY number
    ON CONFLICT (integration_id, delivery_id) DO NOTHING
    RETURNING id
), tasks AS (
    INSERT INTO webhook_tasks (event_id, environment, connection_key, connection_id, sync)
    SELECT u.event_id, u.environment, u.connection_key, u.connection_id, u.sync
      FROM unnest($10::uuid[], $11::text[], $12::bigint[], $13::text[], $14::text[])
           WITH ORDINALITY
           AS u (event_id, environment, connection_key, connection_id, sync, number)
           JOIN event ON event.id = u.event_id
     ORDER BY u.number
)
SELECT id FROM event
"""

_KNOWN = """
SELECT u.number, e.id
  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS u (integration_id, delivery_id, number)
       JOIN webhook_events e
         ON e.integration_id = u.integration_id AND e.delivery_id = u.delivery_id
"""

_ADD_TASKS = """
INSERT INTO webhook_tasks (event_id, environment, connection_key, connection_id, sync)
SELECT $1, $2, connection_key, connection_id, sync
  FROM unnest($3::bigint[], $4::text[], $5::text[]) WITH ORDINALITY
       AS u (connection_key, connection_id, sync, number)
 ORDER BY number
"""

_ALL = """
SELECT 0 AS number, id, connection_id, webhook_url_override FROM connections
 WHERE integration_id = $1 AND deleting_since IS NULL
 ORDER BY id
"""

_BY_NAME = """
SELECT DISTINCT wanted.number, c.id, c.connection_id, c.webhook_url_override
  FROM unnest($2::int[], $3::text[]) AS wanted (number, value)
       JOIN connections c ON c.connection_id = wanted.value AND c.integration_id = $1
        AND c.deleting_since IS NULL
 ORDER BY wanted.number, c.id
"""

_BY_METADATA = """
SELECT DISTINCT wanted.number, c.id, c.connection_id, c.webhook_url_override
  FROM unnest($2::int[], $3::jsonb[]) AS wanted (number, value)
       JOIN connections c ON c.metadata @> wanted.value AND c.integration_id = $1
        AND c.deleting_since IS NULL
 ORDER BY wanted.number, c.id
"""

_BY_CONFIG = """
SELECT DISTINCT wanted.number, c.id, c.connection_id, c.webhook_url_override
  FROM unnest($2::int[], $3::jsonb[]) AS wanted (number, value)
       JOIN connections c ON c.connection_config @> wanted.value AND c.integration_id = $1
        AND c.deleting_since IS NULL
 ORDER BY wanted.number, c.id
"""

_BY = {"connection_id": _BY_NAME, "metadata": _BY_METADATA, "connection_config": _BY_CONFIG}


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
class WantedTargets:
    """Which connections of an integration a webhook concerns.

    Attributes:
        integration_id: Row id of the integration.
        column: `connection_id`, `metadata` or `connection_config`; None for all connections.
        values: Names of connections, or objects of which the column has to contain one.
    """

    integration_id: int
    column: str | None = None
    values: Sequence[Any] = ()


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


class WebhookArrivalStore:
    """Takes what providers send.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts bodies, bound to their row.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def targets(self, wanted: Sequence[WantedTargets]) -> list[list[WebhookTarget]]:
        """Return the connections that webhooks concern, in the order in which they were made.

        Those that are being deleted are left out. There is one statement for each integration and
        column, however many webhooks ask.

        Args:
            wanted: What each of the webhooks asks for.

        Returns:
            For each of them its connections.
        """
        asked: dict[tuple[int, str | None], list[int]] = {}
        for number, one in enumerate(wanted):
            asked.setdefault((one.integration_id, one.column), []).append(number)
        found: list[list[WebhookTarget]] = [[] for _ in wanted]
        async with borrowed(self._pool) as conn:
            for (integration_id, column), numbers in asked.items():
                if column is None:
                    rows = await conn.fetch(_ALL, integration_id)
                    everybody = [_target(*row.values()) for row in rows]
                    for number in numbers:
                        found[number] = everybody
                    continue
                values = [(number, value) for number in numbers for value in wanted[number].values]
                if values:
                    for row in await conn.fetch(
                        _BY[column], integration_id, *zip(*values, strict=True)
                    ):
                        found[row["number"]].append(_target(*row.values()))
        return found

    async def add(self, event: NewEvent, *, conn: DbConnection | None = None) -> UUID | None:
        """Write an event with its tasks; see `add_all`."""
        return (await self.add_all([event], conn=conn))[0]

    async def add_all(
        self, events: Sequence[NewEvent], *, conn: DbConnection | None = None
    ) -> list[UUID | None]:
        """Write events with their tasks, in their order and in one statement: all or nothing.

        Args:
            events: The events.
            conn: Connection whose transaction this joins; without one they are committed.

        Returns:
            For each event None, or the id of the one that has the same delivery id: it was not
            written then.
        """
        tasks = [(event, task) for event in events for task in event.tasks]
        async with borrowed(self._pool, conn) as connection:
            rows = await connection.fetch(
                _ADD,
                [event.id for event in events],
                [event.environment_id for event in events],
                [event.integration_id for event in events],
                [event.integration for event in events],
                [event.delivery_id for event in events],
                [to_json(list(event.types)) for event in events],
                [to_json(dict(event.headers)) for event in events],
                [to_json(dict(event.query)) for event in events],
                [self._keyring.encrypt(event.body, aad=event_aad(event.id)) for event in events],
                [event.id for event, _ in tasks],
                [event.environment for event, _ in tasks],
                *_columns([task for _, task in tasks]),
            )
            added = {row["id"] for row in rows}
            repeated = [event for event in events if event.id not in added]
            if not repeated:
                return [None for _ in events]
            rows = await connection.fetch(
                _KNOWN,
                [event.integration_id for event in repeated],
                [event.delivery_id for event in repeated],
            )
        known = {repeated[row["number"] - 1].id: row["id"] for row in rows}
        return [known.get(event.id) for event in events]

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


def event_aad(event_id: UUID) -> bytes:
    """Return what the encrypted body of an event is bound to."""
    return f"perdure/webhook-event/{event_id}".encode()


def _target(_: int, key: ConnectionKey, name: str, url_override: str | None) -> WebhookTarget:
    return WebhookTarget(key, name, url_override)


def _columns(tasks: Sequence[NewTask]) -> tuple[list[ConnectionKey], list[str], list[str]]:
    return (
        [task.connection_key for task in tasks],
        [task.connection_id for task in tasks],
        [task.sync for task in tasks],
    )
