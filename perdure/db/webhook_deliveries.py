"""Webhooks that are to be delivered, and what came of it.

It is an outbox: a delivery is written in the transaction in which happens what it tells of, so
neither is there without the other. What carries it out is a workflow of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg

from perdure.clock import utcnow
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.records.canonical import to_json

__all__ = [
    "Delivery",
    "DeliveryAttempt",
    "DeliveryStatus",
    "DeliveryStore",
    "NewDelivery",
    "WebhookType",
]

WebhookType: TypeAlias = Literal["sync", "auth", "async_action", "forward"]

_ADD = """
INSERT INTO webhook_deliveries (
    environment_id, step, number, type, subject, integration, connection_id, connection_key,
    run_id, target, url, body, headers, event_id
)
SELECT $1, $2, number, type, subject, integration, connection_id, connection_key, run_id, target,
       url, body, headers, event_id
  FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[],
              $10::text[], $11::text[], $12::json[], $13::uuid[]) WITH ORDINALITY
       AS u (type, subject, integration, connection_id, connection_key, run_id, target, url, body,
             headers, event_id, number)
ON CONFLICT (step, number) DO NOTHING
"""

_OF_STEP = "SELECT id FROM webhook_deliveries WHERE step = $1 ORDER BY number"

# It goes where the environment or the connection wants it now; to a connection that is gone, where
# it wanted it last.
_BY_IDS = """
SELECT d.id, d.seq, d.environment_id, d.type, d.subject, d.integration, d.connection_id, d.run_id,
       d.target,
       CASE d.target
            WHEN 'primary' THEN s.primary_url
            WHEN 'secondary' THEN s.secondary_url
            ELSE CASE WHEN c.id IS NULL THEN d.url ELSE c.webhook_url_override END
       END,
       d.url, d.body, d.status, d.created_at, d.finished_at, d.attempts, d.last_attempt_at,
       d.last_status, d.last_error, d.opening, d.headers
  FROM webhook_deliveries d
       LEFT JOIN webhook_settings s ON s.environment_id = d.environment_id
       LEFT JOIN connections c ON c.id = d.connection_key
 WHERE d.id = ANY ($1::uuid[])
 ORDER BY d.seq
"""

_LIST = """
SELECT d.id, d.seq, d.environment_id, d.type, d.subject, d.integration, d.connection_id, d.run_id,
       d.target,
       CASE d.target
            WHEN 'primary' THEN s.primary_url
            WHEN 'secondary' THEN s.secondary_url
            ELSE CASE WHEN c.id IS NULL THEN d.url ELSE c.webhook_url_override END
       END,
       d.url, d.body, d.status, d.created_at, d.finished_at, d.attempts, d.last_attempt_at,
       d.last_status, d.last_error, d.opening, d.headers
  FROM webhook_deliveries d
       LEFT JOIN webhook_settings s ON s.environment_id = d.environment_id
       LEFT JOIN connections c ON c.id = d.connection_key
 WHERE d.environment_id = $1
   AND ($2::text IS NULL OR d.status = $2)
   AND ($3::text IS NULL OR d.type = $3)
   AND ($4::text IS NULL OR d.integration = $4)
   AND ($5::text IS NULL OR d.connection_id = $5)
   AND ($6::text IS NULL OR d.run_id = $6)
   AND ($7::bigint IS NULL OR d.seq < $7)
 ORDER BY d.seq DESC
 LIMIT $8
"""

_UNSTARTED = """
SELECT d.seq, d.id, e.name
  FROM webhook_deliveries d JOIN environments e ON e.id = d.environment_id
 WHERE d.status = 'pending' AND d.attempts = 0 AND d.created_at < $1 AND d.seq > $2
 ORDER BY d.seq
 LIMIT $3
"""

_STALLED = """
SELECT d.seq, d.id, e.name
  FROM webhook_deliveries d JOIN environments e ON e.id = d.environment_id
 WHERE d.status = 'pending' AND d.last_attempt_at < $1 AND d.seq > $2
 ORDER BY d.seq
 LIMIT $3
"""

_NOTE_ATTEMPT = """
INSERT INTO webhook_attempts (delivery_id, at, status, error)
SELECT id, $2, $3, $4 FROM webhook_deliveries WHERE id = $1
"""

_COUNT_ATTEMPT = """
UPDATE webhook_deliveries
   SET attempts = attempts + 1, last_attempt_at = $2, last_status = $3, last_error = $4,
       url = coalesce($5, url),
       status = CASE WHEN status = 'pending' THEN $6 ELSE status END,
       finished_at = CASE WHEN status = 'pending' AND $6 <> 'pending' THEN $2 ELSE finished_at END
 WHERE id = $1
"""

_FAIL = """
UPDATE webhook_deliveries
   SET status = 'failed', finished_at = $2, last_error = coalesce(last_error, $3)
 WHERE id = $1 AND status = 'pending' AND opening = coalesce($4, opening)
"""

_REOPEN = """
UPDATE webhook_deliveries SET status = 'pending', finished_at = NULL, opening = opening + 1
 WHERE id = $1 AND environment_id = $2
"""

_ATTEMPTS = """
SELECT at, status, error
  FROM (SELECT id, at, status, error
          FROM webhook_attempts
         WHERE delivery_id = $1
         ORDER BY id DESC
         LIMIT $2) newest
 ORDER BY id
"""

# One that is sent again at this moment is pending, whoever gets to it first.
_DROP_ENDED = """
WITH old AS MATERIALIZED (
    SELECT id
      FROM webhook_deliveries
     WHERE finished_at < $1
     ORDER BY finished_at
     LIMIT $2
       FOR UPDATE SKIP LOCKED)
DELETE FROM webhook_deliveries d USING old WHERE d.id = old.id
"""


class DeliveryStatus(StrEnum):
    """How a delivery stands."""

    PENDING = "pending"
    """It is under way, or waits for its next attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A webhook that is to go to one URL.

    Attributes:
        type: What kind of event it tells of.
        subject: What it tells, in a few words for people.
        integration: Key of the integration.
        connection_id: Name of the connection, None where it concerns none.
        connection_key: Row id of the connection, None where it concerns none.
        target: `primary`, `secondary` or `override`.
        url: Where it goes.
        body: What is sent.
        run_id: The run it tells of, None where it is no run.
        headers: What goes along with our own, such as those of a webhook that is handed on.
        event_id: The provider's webhook that is handed on, None where it is none.
    """

    type: WebhookType
    subject: str
    integration: str
    connection_id: str | None
    connection_key: ConnectionKey | None
    target: str
    url: str
    body: bytes
    run_id: str | None = None
    headers: Mapping[str, str] | None = None
    event_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as it stands; the fields that `NewDelivery` has mean the same here.

    Attributes:
        id: Names it to the receiver, on every attempt.
        seq: Grows in the order in which deliveries were written.
        goes_to: The URL that is set for its target now, None where there is none any more.
        url: The URL of its last attempt.
        status: How it stands.
        finished_at: When it was delivered or given up, None while it is pending.
        attempts: How many there were.
        last_attempt_at: When the last one was.
        last_status: Status that the receiver answered with, None where it did not answer.
        last_error: What was wrong, None where nothing was.
        opening: How often it was sent again on request.
        headers: What goes along with our own headers.
    """

    id: UUID
    seq: int
    environment_id: EnvironmentId
    type: WebhookType
    subject: str
    integration: str
    connection_id: str | None
    run_id: str | None
    target: str
    goes_to: str | None
    url: str
    body: str
    status: DeliveryStatus
    created_at: datetime
    finished_at: datetime | None
    attempts: int
    last_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    opening: int
    headers: dict[str, str]

    @property
    def payload(self) -> Any:
        """What is sent, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt: when it was, what was answered, and what was wrong."""

    at: datetime
    status: int | None
    error: str | None


class DeliveryStore:
    """Keeps deliveries."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(
        self,
        environment_id: EnvironmentId,
        step: str,
        deliveries: Sequence[NewDelivery],
        *,
        conn: DbConnection,
    ) -> list[UUID]:
        """Write deliveries that are to be carried out.

        Args:
            environment_id: Where they belong.
            step: The workflow's step that writes them; what it wrote before is not written again.
            deliveries: The same for every repetition of the step, or none.
            conn: Connection in the transaction in which happens what they tell of.

        Returns:
            The ids of all that the step has written, in order.
        """
        async with borrowed(self._pool, conn) as connection:
            if deliveries:
                await connection.execute(
                    _ADD,
                    environment_id,
                    step,
                    [new.type for new in deliveries],
                    [new.subject for new in deliveries],
                    [new.integration for new in deliveries],
                    [new.connection_id for new in deliveries],
                    [new.connection_key for new in deliveries],
                    [new.run_id for new in deliveries],
                    [new.target for new in deliveries],
                    [new.url for new in deliveries],
                    [new.body.decode() for new in deliveries],
                    [None if new.headers is None else to_json(new.headers) for new in deliveries],
                    [new.event_id for new in deliveries],
                )
            return await self.of_step(step, conn=connection)

    async def of_step(self, step: str, *, conn: DbConnection) -> list[UUID]:
        """Return the ids of what a workflow's step has written, in order.

        Args:
            step: The step.
            conn: Connection in a transaction.
        """
        async with borrowed(self._pool, conn) as connection:
            return [row["id"] for row in await connection.fetch(_OF_STEP, step)]

    async def by_ids(self, ids: Sequence[UUID]) -> list[Delivery]:
        """Return deliveries in the order in which they were written, without those gone."""
        async with borrowed(self._pool) as conn:
            return [_delivery(row) for row in await conn.fetch(_BY_IDS, ids)]

    async def get(self, environment_id: EnvironmentId, delivery_id: UUID) -> Delivery:
        """Return a delivery.

        Raises:
            NotFoundError: `unknown_delivery`.
        """
        found = await self.by_ids([delivery_id])
        if not found or found[0].environment_id != environment_id:
            raise _unknown(delivery_id)
        return found[0]

    async def list(
        self,
        environment_id: EnvironmentId,
        *,
        status: DeliveryStatus | None = None,
        type: WebhookType | None = None,
        integration: str | None = None,
        connection_id: str | None = None,
        run_id: str | None = None,
        before_seq: int | None = None,
        limit: int = 50,
    ) -> Sequence[Delivery]:
        """Return deliveries, newest first; all conditions hold at once.

        Args:
            environment_id: Where they belong.
            status: Only those that stand like this.
            type: Only those of this kind.
            integration: Only those of this integration.
            connection_id: Only those of a connection with this name.
            run_id: Only those that tell of this run.
            before_seq: Only those that were written before this one.
            limit: Most deliveries to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _LIST,
                environment_id,
                status,
                type,
                integration,
                connection_id,
                run_id,
                before_seq,
                limit,
            )
        return [_delivery(row) for row in rows]

    async def unstarted(
        self, before: datetime, *, after_seq: int, limit: int
    ) -> Sequence[tuple[int, UUID, str]]:
        """Return deliveries of all environments that nobody has tried yet, in order.

        Args:
            before: Only those that were written before this moment.
            after_seq: Only those that were written after this one; 0 begins.
            limit: Most deliveries to return.

        Returns:
            `seq`, id and name of the environment of each.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_UNSTARTED, before, after_seq, limit)
        return [tuple(row.values()) for row in rows]

    async def stalled(
        self, before: datetime, *, after_seq: int, limit: int
    ) -> Sequence[tuple[int, UUID, str]]:
        """Return deliveries that are pending and were last tried long ago, as `unstarted` does.

        Args:
            before: Only those that were not tried since this moment.
            after_seq: Only those that were written after this one; 0 begins.
            limit: Most deliveries to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_STALLED, before, after_seq, limit)
        return [tuple(row.values()) for row in rows]

    async def note_attempt(
        self,
        delivery_id: UUID,
        attempt: DeliveryAttempt,
        status: DeliveryStatus,
        *,
        url: str | None,
    ) -> None:
        """Note an attempt and how the delivery stands after it; a delivery that ended stays so.

        Args:
            delivery_id: Which delivery.
            attempt: What came of it.
            status: How the delivery stands now.
            url: Where it went, None where it went nowhere.
        """
        async with borrowed(self._pool) as conn, conn.transaction():
            await conn.execute(
                _NOTE_ATTEMPT, delivery_id, attempt.at, attempt.status, attempt.error
            )
            await conn.execute(
                _COUNT_ATTEMPT,
                delivery_id,
                attempt.at,
                attempt.status,
                attempt.error,
                url,
                status,
            )

    async def give_up(self, delivery_id: UUID, reason: str, *, opening: int | None = None) -> None:
        """Note that a delivery that is pending is not tried any more.

        Args:
            delivery_id: Which delivery.
            reason: What to show where no attempt says more.
            opening: Only if it was not sent again on request since; None gives it up in any case.
        """
        async with borrowed(self._pool) as conn:
            await conn.execute(_FAIL, delivery_id, utcnow(), reason, opening)

    async def reopen(self, environment_id: EnvironmentId, delivery_id: UUID) -> None:
        """Have a delivery pending again, whether it was delivered or failed.

        Raises:
            NotFoundError: `unknown_delivery`.
        """
        async with borrowed(self._pool) as conn:
            if await conn.execute(_REOPEN, delivery_id, environment_id) != "UPDATE 1":
                raise _unknown(delivery_id)

    async def attempts(self, delivery_id: UUID, *, limit: int = 1000) -> Sequence[DeliveryAttempt]:
        """Return the last attempts of a delivery, oldest first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_ATTEMPTS, delivery_id, limit)
        return [DeliveryAttempt(*row.values()) for row in rows]

    async def drop_ended(self, before: datetime, *, limit: int) -> int:
        """Remove deliveries that ended before a moment, with their attempts; returns how many."""
        async with borrowed(self._pool) as conn:
            tag = await conn.execute(_DROP_ENDED, before, limit)
        return int(tag.rpartition(" ")[2])


def _delivery(row: asyncpg.Record) -> Delivery:
    values = list(row.values())
    values[12] = DeliveryStatus(values[12])
    values[-1] = {} if values[-1] is None else json.loads(values[-1])
    return Delivery(*values)


def _unknown(delivery_id: UUID) -> NotFoundError:
    msg = f"There is no webhook delivery {str(delivery_id)!r} in this environment."
    return NotFoundError(msg, code="unknown_delivery")
