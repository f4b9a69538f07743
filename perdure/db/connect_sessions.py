"""Connect sessions: what lets an end user connect accounts for a while, and how attempts ended.

A token is kept as a hash only.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from perdure.db.pool import Pool, borrowed
from perdure.errors import UnauthorizedError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.records.canonical import JsonObject

__all__ = ["SESSION_TTL", "ConnectSession", "ConnectSessionStore"]

SESSION_TTL = timedelta(minutes=30)
"""How long a session lasts."""

_PREFIX = "nango_connect_session_"
_RESULT_TTL = timedelta(minutes=15)

_CREATE = """
INSERT INTO connect_sessions (environment_id, token_hash, connection_key, details, expires_at)
VALUES ($1, $2, $3, $4, now() + $5::interval)
RETURNING expires_at
"""

_GET = """
SELECT s.id, s.environment_id, s.connection_key, s.details, s.expires_at
  FROM connect_sessions s
 WHERE s.token_hash = $1 AND s.expires_at > now()
"""

_BY_ID = """
SELECT s.id, s.environment_id, s.connection_key, s.details, s.expires_at
  FROM connect_sessions s
 WHERE s.id = $1
"""

_DELETE = "DELETE FROM connect_sessions WHERE id = $1"

# People who are at a consent page may come back a little later than their session ends.
_SWEEP = "DELETE FROM connect_sessions WHERE expires_at < now() - interval '1 hour'"

_SAVE_RESULT = """
INSERT INTO connect_results (client_id, result) VALUES ($1, $2)
ON CONFLICT (client_id) DO UPDATE SET result = excluded.result, created_at = now()
"""

_TAKE_RESULTS = """
DELETE FROM connect_results WHERE client_id = ANY ($1::uuid[]) RETURNING client_id, result
"""

_SWEEP_RESULTS = "DELETE FROM connect_results WHERE created_at < now() - $1::interval"


@dataclass(frozen=True, slots=True)
class ConnectSession:
    """What an end user may do for a while.

    Attributes:
        id: Row id.
        environment_id: Where connections are made.
        connection_key: The connection to be given new credentials, None to make new ones.
        details: `end_user`, `tags`, `allowed_integrations`, `integrations_config_defaults`,
            `overrides` and `webhook_url_override`, as far as they were given.
        expires_at: When it ends.
    """

    id: int
    environment_id: EnvironmentId
    connection_key: ConnectionKey | None
    details: JsonObject
    expires_at: datetime

    def allows(self, integration: str) -> bool:
        """Say whether accounts of an integration may be connected."""
        allowed = self.details.get("allowed_integrations")
        # A list without anything in it is what an application has worked out: it allows nothing.
        return allowed is None or integration in allowed

    def defaults(self, integration: str) -> dict[str, Any]:
        """Return what the application has said for an integration."""
        defaults = self.details.get("integrations_config_defaults") or {}
        return dict(defaults.get(integration) or {})


class ConnectSessionStore:
    """Keeps connect sessions, and how attempts ended for whoever waits for that."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        environment_id: EnvironmentId,
        details: JsonObject,
        *,
        connection_key: ConnectionKey | None = None,
    ) -> tuple[str, datetime]:
        """Make a session; returns its token, which is not shown again, and when it ends.

        Raises:
            InvalidInputError: `unstorable_text`.
        """
        token = f"{_PREFIX}{secrets.token_hex(32)}"
        async with borrowed(self._pool) as conn:
            await conn.execute(_SWEEP)
            await conn.execute(_SWEEP_RESULTS, _RESULT_TTL)
            expires_at = await conn.fetchval(
                _CREATE, environment_id, _hash(token), connection_key, details, SESSION_TTL
            )
        return token, expires_at

    async def by_token(self, token: str) -> ConnectSession:
        """Return the session that a token opens.

        Raises:
            UnauthorizedError: `unknown_connect_session`, there is none or it has ended.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_GET, _hash(token))
        if row is None:
            msg = "The connect session has ended, or there never was one with this token."
            raise UnauthorizedError(msg, code="unknown_connect_session")
        return ConnectSession(*row.values())

    async def by_id(self, session_id: int) -> ConnectSession | None:
        """Return a session, also one that has ended a moment ago; None where it is gone."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_BY_ID, session_id)
        return None if row is None else ConnectSession(*row.values())

    async def delete(self, session_id: int) -> None:
        """End a session."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_DELETE, session_id)

    async def save_result(self, client_id: UUID, result: JsonObject) -> None:
        """Keep how an attempt ended, for the window that waits for it."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_SAVE_RESULT, client_id, result)

    async def take_results(self, client_ids: Sequence[UUID]) -> dict[UUID, JsonObject]:
        """Return how attempts ended, each once; those that have not are left out."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_TAKE_RESULTS, client_ids)
        return {row["client_id"]: row["result"] for row in rows}


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
