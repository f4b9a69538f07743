"""Environments, their secret keys and API keys' hashes. A key is kept as a hash only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import asyncpg

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import ConflictError, NotFoundError, UnauthorizedError
from perdure.ids import BundleHash, EnvironmentId

__all__ = ["Environment", "EnvironmentStore", "ValidationMode", "key_hash"]

ValidationMode: TypeAlias = Literal["enforce", "warn", "off"]
"""What happens to a value that does not fit its model: the run fails, its log warns, or nothing."""

_ENSURE = """
INSERT INTO environments (name, secret_key_hash) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET secret_key_hash = excluded.secret_key_hash
RETURNING id, name, active_bundle, validation, created_at, uuid
"""

_BY_KEY = """
SELECT id, name, active_bundle, validation, created_at, uuid
  FROM environments
 WHERE secret_key_hash = $1
"""

_BY_NAME = """
SELECT id, name, active_bundle, validation, created_at, uuid FROM environments WHERE name = $1
"""

_BY_ID = """
SELECT id, name, active_bundle, validation, created_at, uuid FROM environments WHERE id = $1
"""

# Waits for a deploy that is about to activate its bundle, and has the next one wait.
_HOLD_BUNDLE = "SELECT active_bundle FROM environments WHERE id = $1 FOR KEY SHARE"

_SET_VALIDATION = """
UPDATE environments SET validation = $2 WHERE id = $1
RETURNING id, name, active_bundle, validation, created_at, uuid
"""

_CREATE = """
INSERT INTO environments (name) VALUES ($1) ON CONFLICT (name) DO NOTHING
RETURNING id, name, active_bundle, validation, created_at, uuid
"""

# Whoever makes a connection holds this row until then, and finds it gone afterwards.
_LOCK = "SELECT id FROM environments WHERE name = $1 FOR UPDATE"

_HAS_CONNECTIONS = "SELECT EXISTS (SELECT FROM connections WHERE environment_id = $1)"

_DELETE = """
DELETE FROM environments WHERE id = $1
RETURNING id, name, active_bundle, validation, created_at, uuid
"""

_ALL = """
SELECT id, name, active_bundle, validation, created_at, uuid FROM environments ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """A separate world of integrations, connections and deployments.

    Attributes:
        id: Row id.
        name: Name, such as `dev`.
        active_bundle: Hash of the bundle new runs start with, None before the first deploy.
        validation: What happens to values that do not fit their model.
        created_at: When it was made.
        uuid: Its public name, in addresses that others are given.
    """

    id: EnvironmentId
    name: str
    active_bundle: BundleHash | None
    validation: ValidationMode
    created_at: datetime
    uuid: UUID


class EnvironmentStore:
    """Reads and makes environments."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ensure(self, name: str, secret_key: str) -> Environment:
        """Make an environment, or give an existing one this secret key.

        Raises:
            ConflictError: `secret_key_taken`, another environment has this key.
        """
        try:
            async with borrowed(self._pool) as conn:
                row = await conn.fetchrow(_ENSURE, name, key_hash(secret_key))
        except asyncpg.UniqueViolationError as error:
            msg = f"The secret key for {name!r} is the key of another environment already."
            raise ConflictError(msg, code="secret_key_taken") from error
        return _environment(row, name)

    async def create(self, name: str, *, conn: DbConnection) -> Environment:
        """Make an environment that no secret key opens, only API keys.

        Args:
            name: Its name.
            conn: Connection whose transaction this joins.

        Raises:
            ConflictError: `environment_already_exists`.
        """
        row = await conn.fetchrow(_CREATE, name)
        if row is None:
            msg = f"There is an environment {name!r} already."
            raise ConflictError(msg, code="environment_already_exists")
        return Environment(*row.values())

    async def delete(self, name: str) -> Environment:
        """Delete an environment that has no connections, with all that belongs to it.

        Returns:
            The environment as it was.

        Raises:
            NotFoundError: `unknown_environment`.
            ConflictError: `environment_not_empty`, it has connections, whose schedules and scripts
                would go on.
        """
        async with borrowed(self._pool) as conn, conn.transaction():
            environment_id = await conn.fetchval(_LOCK, name)
            if environment_id is not None and await conn.fetchval(_HAS_CONNECTIONS, environment_id):
                msg = f"The environment {name!r} still has connections; delete those first."
                raise ConflictError(msg, code="environment_not_empty")
            return _environment(await conn.fetchrow(_DELETE, environment_id), name)

    async def by_secret_key(self, secret_key: str) -> Environment:
        """Return the environment that a secret key opens.

        Raises:
            UnauthorizedError: `unknown_account`, no environment has this key.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_BY_KEY, key_hash(secret_key))
        if row is None:
            msg = "No environment has this secret key."
            raise UnauthorizedError(msg)
        return Environment(*row.values())

    async def by_name(self, name: str) -> Environment:
        """Return an environment by its name.

        Raises:
            NotFoundError: `unknown_environment`.
        """
        async with borrowed(self._pool) as conn:
            return _environment(await conn.fetchrow(_BY_NAME, name), name)

    async def by_id(self, environment_id: EnvironmentId) -> Environment:
        """Return an environment by its row id.

        Raises:
            NotFoundError: `unknown_environment`.
        """
        async with borrowed(self._pool) as conn:
            return _environment(await conn.fetchrow(_BY_ID, environment_id), environment_id)

    async def hold_bundle(
        self, environment_id: EnvironmentId, *, conn: DbConnection
    ) -> BundleHash | None:
        """Return the active bundle, which stays the active one until the transaction ends.

        Args:
            environment_id: Where.
            conn: Connection whose transaction this joins.
        """
        bundle: BundleHash | None = await conn.fetchval(_HOLD_BUNDLE, environment_id)
        return bundle

    async def set_validation(
        self, environment_id: EnvironmentId, validation: ValidationMode
    ) -> Environment:
        """Say what happens to values that do not fit their model, from the next run on.

        Raises:
            NotFoundError: `unknown_environment`.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_SET_VALIDATION, environment_id, validation)
        return _environment(row, environment_id)

    async def all(self) -> Sequence[Environment]:
        """Return all environments, oldest first."""
        async with borrowed(self._pool) as conn:
            return [Environment(*row.values()) for row in await conn.fetch(_ALL)]


def key_hash(key: str) -> bytes:
    """Return what is kept of a secret key or an API key."""
    return hashlib.sha256(key.encode()).digest()


def _environment(row: asyncpg.Record | None, name: object) -> Environment:
    if row is None:
        msg = f"There is no environment {name!r}."
        raise NotFoundError(msg, code="unknown_environment")
    return Environment(*row.values())
