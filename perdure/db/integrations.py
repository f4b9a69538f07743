"""Integrations: which providers an environment speaks to, and with which client credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import EnvironmentId
from perdure.records.canonical import JsonObject, to_json

__all__ = ["Integration", "IntegrationStore", "unknown_integration"]

_INSERT = """
INSERT INTO integrations (environment_id, unique_key, provider, display_name, credentials)
VALUES ($1, $2, $3, $4, $5)
RETURNING id, environment_id, unique_key, provider, display_name, created_at, updated_at
"""

_GET = """
SELECT id, environment_id, unique_key, provider, display_name, created_at, updated_at
  FROM integrations
 WHERE environment_id = $1 AND unique_key = $2
"""

_LIST = """
SELECT id, environment_id, unique_key, provider, display_name, created_at, updated_at
  FROM integrations
 WHERE environment_id = $1
 ORDER BY unique_key
"""

_CREDENTIALS = "SELECT credentials FROM integrations WHERE environment_id = $1 AND unique_key = $2"

_LOCK_CREDENTIALS = """
SELECT credentials FROM integrations WHERE environment_id = $1 AND unique_key = $2 FOR UPDATE
"""

_UPDATE = """
UPDATE integrations
   SET unique_key = $3,
       display_name = coalesce($4, display_name),
       credentials = $5,
       updated_at = now()
 WHERE environment_id = $1 AND unique_key = $2
RETURNING id, environment_id, unique_key, provider, display_name, created_at, updated_at
"""

_DELETE = "DELETE FROM integrations WHERE environment_id = $1 AND unique_key = $2 RETURNING id"


@dataclass(frozen=True, slots=True)
class Integration:
    """A provider as an environment uses it.

    Attributes:
        id: Row id.
        environment_id: Where it belongs.
        unique_key: Its name, which `nango.yaml` and clients use.
        provider: Name of the provider in the catalogue.
        display_name: Name for people.
        created_at: When it was made.
        updated_at: When it was last changed.
    """

    id: int
    environment_id: EnvironmentId
    unique_key: str
    provider: str
    display_name: str
    created_at: datetime
    updated_at: datetime


class IntegrationStore:
    """Keeps integrations; their credentials are encrypted and leave only when asked for.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts the credentials, bound to environment and key of the integration.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def create(
        self,
        environment_id: EnvironmentId,
        unique_key: str,
        provider: str,
        *,
        display_name: str | None = None,
        credentials: Mapping[str, Any] | None = None,
    ) -> Integration:
        """Make an integration.

        Args:
            environment_id: Where it belongs.
            unique_key: Its name.
            provider: Name of the provider.
            display_name: Name for people. Default: the provider's name.
            credentials: Client id and secret and the like, a JSON object.

        Raises:
            ConflictError: `unique_key_already_exists`.
        """
        sealed = self._seal(environment_id, unique_key, credentials)
        try:
            async with borrowed(self._pool) as conn:
                row = await conn.fetchrow(
                    _INSERT, environment_id, unique_key, provider, display_name or provider, sealed
                )
        except asyncpg.UniqueViolationError as error:
            raise _taken(unique_key) from error
        return _integration(row, unique_key)

    async def get(self, environment_id: EnvironmentId, unique_key: str) -> Integration:
        """Return an integration.

        Raises:
            NotFoundError: `unknown_provider_config`.
        """
        async with borrowed(self._pool) as conn:
            return _integration(await conn.fetchrow(_GET, environment_id, unique_key), unique_key)

    async def list(self, environment_id: EnvironmentId) -> Sequence[Integration]:
        """Return the integrations of an environment in the order of their keys."""
        async with borrowed(self._pool) as conn:
            return [Integration(*row.values()) for row in await conn.fetch(_LIST, environment_id)]

    async def credentials(
        self, environment_id: EnvironmentId, unique_key: str
    ) -> JsonObject | None:
        """Return the decrypted credentials, None where the integration has none.

        Raises:
            NotFoundError: `unknown_provider_config`.
            DecryptionError: The key ring cannot read them.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_CREDENTIALS, environment_id, unique_key)
        if row is None:
            raise unknown_integration(unique_key)
        return self._open(environment_id, unique_key, row["credentials"])

    async def update(
        self,
        environment_id: EnvironmentId,
        unique_key: str,
        *,
        new_unique_key: str | None = None,
        display_name: str | None = None,
        credentials: Mapping[str, Any] | None = None,
    ) -> Integration:
        """Change what is given and leave the rest.

        Raises:
            NotFoundError: `unknown_provider_config`.
            ConflictError: `unique_key_already_exists`.
        """
        key = new_unique_key or unique_key
        try:
            async with borrowed(self._pool) as conn, conn.transaction():
                if credentials is None:
                    # The ciphertext is bound to the key: a new key needs a new ciphertext.
                    credentials = await self._locked(conn, environment_id, unique_key)
                sealed = self._seal(environment_id, key, credentials)
                row = await conn.fetchrow(
                    _UPDATE, environment_id, unique_key, key, display_name, sealed
                )
        except asyncpg.UniqueViolationError as error:
            raise _taken(key) from error
        return _integration(row, unique_key)

    async def delete(self, environment_id: EnvironmentId, unique_key: str) -> None:
        """Delete an integration with its connections, their syncs and their records.

        Raises:
            NotFoundError: `unknown_provider_config`.
        """
        async with borrowed(self._pool) as conn:
            if await conn.fetchval(_DELETE, environment_id, unique_key) is None:
                raise unknown_integration(unique_key)

    async def _locked(
        self, conn: DbConnection, environment_id: EnvironmentId, unique_key: str
    ) -> JsonObject | None:
        sealed = await conn.fetchval(_LOCK_CREDENTIALS, environment_id, unique_key)
        return self._open(environment_id, unique_key, sealed)

    def _seal(
        self, environment_id: EnvironmentId, unique_key: str, credentials: Mapping[str, Any] | None
    ) -> bytes | None:
        if credentials is None:
            return None
        return self._keyring.encrypt(
            to_json(dict(credentials)), aad=_aad(environment_id, unique_key)
        )

    def _open(
        self, environment_id: EnvironmentId, unique_key: str, sealed: bytes | None
    ) -> JsonObject | None:
        if sealed is None:
            return None
        opened: JsonObject = json.loads(
            self._keyring.decrypt(sealed, aad=_aad(environment_id, unique_key))
        )
        return opened


def unknown_integration(unique_key: str) -> NotFoundError:
    """Return the error that says that an environment has no such integration."""
    msg = f"There is no integration {unique_key!r} in this environment."
    return NotFoundError(msg, code="unknown_provider_config")


def _aad(environment_id: EnvironmentId, unique_key: str) -> bytes:
    text = f"perdure/integration/{environment_id}/{unique_key}"
    return text.encode("utf-8", "surrogatepass")


def _integration(row: asyncpg.Record | None, unique_key: str) -> Integration:
    if row is None:
        raise unknown_integration(unique_key)
    return Integration(*row.values())


def _taken(unique_key: str) -> ConflictError:
    msg = f"An integration {unique_key!r} exists already in this environment."
    return ConflictError(msg, code="unique_key_already_exists")
