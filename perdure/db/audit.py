"""What was done to environments, and with which key.

A row is written before an act begins and gets its outcome afterwards, so that no act is without
one; a row that has none for long is of a process that died meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from perdure.db.pool import Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["AuditEvent", "AuditStore"]

_BEGIN = """
INSERT INTO audit_events (environment_id, environment, key_id, key_name, act, subject, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING id
"""

_END = """
UPDATE audit_events SET status = $2, error = $3, subject = coalesce($4, subject) WHERE id = $1
"""

_LIST = """
SELECT id, at, environment, key_id, key_name, act, subject, request_id, status, error
  FROM audit_events
 WHERE ($1::bigint IS NULL OR environment_id = $1)
   AND ($2::text IS NULL OR act = $2)
   AND ($3::bigint IS NULL OR id < $3)
 ORDER BY id DESC
 LIMIT $4
"""

# Ids grow with time: where none of the first is old, none is.
_DROP_OLD = """
DELETE FROM audit_events
 WHERE id IN (
     SELECT first.id
       FROM (SELECT id, at FROM audit_events ORDER BY id LIMIT $2) first
      WHERE first.at < $1)
"""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One administrative act.

    Attributes:
        id: Grows with time.
        at: When it began.
        environment: Name of the environment whose key was used.
        key_id: The API key; None for the secret key of the environment.
        key_name: Its name at that time.
        act: What was done, such as `api_key.create`.
        subject: To what, such as the name of the key.
        request_id: As the log and the answer have it.
        status: HTTP status of the answer, None where it is not known.
        error: Code of the error, None where there was none.
    """

    id: int
    at: datetime
    environment: str
    key_id: UUID | None
    key_name: str
    act: str
    subject: str
    request_id: str
    status: int | None
    error: str | None


class AuditStore:
    """Notes and returns administrative acts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(
        self,
        environment_id: EnvironmentId,
        environment: str,
        *,
        key_id: UUID | None,
        key_name: str,
        act: str,
        subject: str,
        request_id: str,
    ) -> int:
        """Note that an act begins; the arguments are as the attributes.

        Returns:
            Its id.
        """
        async with borrowed(self._pool) as conn:
            event_id: int = await conn.fetchval(
                _BEGIN, environment_id, environment, key_id, key_name, act, subject, request_id
            )
        return event_id

    async def end(
        self, event_id: int, *, status: int, error: str | None, subject: str | None = None
    ) -> None:
        """Note how an act ended.

        Args:
            event_id: As `begin` returned it.
            status: As the attribute.
            error: As the attribute.
            subject: What only became known meanwhile; None leaves what is there.
        """
        async with borrowed(self._pool) as conn:
            await conn.execute(_END, event_id, status, error, subject)

    async def list(
        self,
        environment_id: EnvironmentId | None,
        *,
        act: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[AuditEvent]:
        """Return acts, newest first.

        Args:
            environment_id: Only those with keys of this environment; None for all.
            act: Only those of this kind.
            before: Only those with a lower id.
            limit: Most to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_LIST, environment_id, act, before, limit)
        return [AuditEvent(*row.values()) for row in rows]

    async def drop_older(self, moment: datetime, *, limit: int) -> int:
        """Remove acts that began before a moment; returns how many."""
        async with borrowed(self._pool) as conn:
            tag = await conn.execute(_DROP_OLD, moment, limit)
        return int(tag.rpartition(" ")[2])
