"""API keys: further keys of an environment, each with a name and only the rights of its scopes.

A key is shown once, when it is made. What stays is its SHA-256, so that neither a reader of the
table nor the time an answer takes says anything about it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from perdure.clock import utcnow
from perdure.db.environments import Environment, key_hash
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import ConflictError, NotFoundError, UnauthorizedError
from perdure.ids import EnvironmentId

__all__ = ["ApiKey", "ApiKeyStore", "OpenedEnvironment"]

_ENDING = 4
_USE_EVERY = timedelta(minutes=1)

_CREATE = """
INSERT INTO api_keys (environment_id, name, key_hash, ending, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (environment_id, name) WHERE revoked_at IS NULL DO NOTHING
RETURNING id, name, ending, scopes, created_at, expires_at, last_used_at, revoked_at
"""

_LIST = """
SELECT id, name, ending, scopes, created_at, expires_at, last_used_at, revoked_at
  FROM api_keys
 WHERE environment_id = $1 AND ($2 OR revoked_at IS NULL)
 ORDER BY created_at DESC, id
"""

_REVOKE = """
UPDATE api_keys SET revoked_at = now()
 WHERE environment_id = $1 AND id = $2 AND revoked_at IS NULL
RETURNING id, name, ending, scopes, created_at, expires_at, last_used_at, revoked_at
"""

_OPEN = """
SELECT e.id AS environment_id, e.name AS environment, e.active_bundle, e.validation,
       e.created_at AS environment_created_at, e.uuid,
       NULL::uuid AS id, NULL AS name, NULL AS ending, NULL::text[] AS scopes,
       NULL::timestamptz AS created_at, NULL::timestamptz AS expires_at,
       NULL::timestamptz AS last_used_at, NULL::timestamptz AS revoked_at
  FROM environments e
 WHERE e.secret_key_hash = $1
 UNION ALL
SELECT e.id, e.name, e.active_bundle, e.validation, e.created_at, e.uuid,
       k.id, k.name, k.ending, k.scopes, k.created_at, k.expires_at, k.last_used_at, k.revoked_at
  FROM api_keys k JOIN environments e ON e.id = k.environment_id
 WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""

_NOTE_USE = "UPDATE api_keys SET last_used_at = now() WHERE id = $1"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of an environment, without the key itself.

    Attributes:
        id: By which it is revoked.
        name: For people; no two keys of an environment that count have the same.
        ending: Its last four characters.
        scopes: What it may do; see `api.scopes`.
        created_at: When it was made.
        expires_at: From when on it opens nothing, None for never.
        last_used_at: When it was last used, to the minute.
        revoked_at: Since when it opens nothing.
    """

    id: UUID
    name: str
    ending: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class OpenedEnvironment:
    """What a key opens.

    Attributes:
        environment: Which environment.
        key: The API key; None where it was the environment's secret key, which may do everything.
    """

    environment: Environment
    key: ApiKey | None


class ApiKeyStore:
    """Makes, lists, revokes and finds keys."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(
        self,
        environment_id: EnvironmentId,
        name: str,
        scopes: Sequence[str],
        *,
        expires_at: datetime | None = None,
        conn: DbConnection | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key.

        Args:
            environment_id: What it opens.
            name: As the attribute.
            scopes: As the attribute; one at least.
            expires_at: As the attribute.
            conn: Connection whose transaction this joins.

        Returns:
            What is kept of it, and the key itself, which nobody can find out later.

        Raises:
            ConflictError: `api_key_already_exists`, there is one of this name.
        """
        key = str(uuid.uuid4())
        async with borrowed(self._pool, conn) as connection:
            row = await connection.fetchrow(
                _CREATE,
                environment_id,
                name,
                key_hash(key),
                key[-_ENDING:],
                list(scopes),
                expires_at,
            )
        if row is None:
            msg = f"There is an API key {name!r} already."
            raise ConflictError(msg, code="api_key_already_exists")
        return _api_key(row), key

    async def list(
        self, environment_id: EnvironmentId, *, with_revoked: bool = False
    ) -> Sequence[ApiKey]:
        """Return the keys of an environment, newest first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_LIST, environment_id, with_revoked)
        return [_api_key(row) for row in rows]

    async def revoke(self, environment_id: EnvironmentId, key_id: UUID) -> ApiKey:
        """Have a key open nothing any more.

        Raises:
            NotFoundError: `unknown_api_key`, there is none, or it is revoked already.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_REVOKE, environment_id, key_id)
        if row is None:
            msg = f"There is no API key with the id {key_id} in this environment."
            raise NotFoundError(msg, code="unknown_api_key")
        return _api_key(row)

    async def open(self, key: str) -> OpenedEnvironment:
        """Return what a secret key or an API key opens, and note that it was used.

        Raises:
            UnauthorizedError: `unknown_account`, it opens nothing.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_OPEN, key_hash(key))
            if row is None:
                msg = "No environment has this secret key."
                raise UnauthorizedError(msg)
            opened = _opened(row)
            if opened.key is not None and _is_stale(opened.key.last_used_at):
                await conn.execute(_NOTE_USE, opened.key.id)
        return opened


def _opened(row: asyncpg.Record) -> OpenedEnvironment:
    environment = Environment(
        id=row["environment_id"],
        name=row["environment"],
        active_bundle=row["active_bundle"],
        validation=row["validation"],
        created_at=row["environment_created_at"],
        uuid=row["uuid"],
    )
    return OpenedEnvironment(environment, None if row["id"] is None else _api_key(row))


def _api_key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        ending=row["ending"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )


def _is_stale(last_used_at: datetime | None) -> bool:
    return last_used_at is None or utcnow() - last_used_at > _USE_EVERY
