"""Who refreshes the credentials of a connection, and what came of it.

One process at a time refreshes. It holds a lease in the connection's row, which it makes longer
for as long as it is at it, so that no database connection waits with it for a provider. Where it
dies another one takes over as soon as the lease has run out.

Each change of credentials makes their revision grow, and whoever stores refreshed ones says which
revision those were made from. What is stored last is what the provider issued last:

- Credentials that somebody gave end every lease: a refresh of the former ones stores nothing.
- The holder of the lease stores what it got, also where a former holder was late.
- A former holder stores what it got where nobody was faster: it is newer than what is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from perdure.connections.refreshing import RefreshFailure, expiry_of
from perdure.crypto.keyring import KeyRing
from perdure.db.connections import Connection, aad_of_credentials, unknown_connection_key
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import ConnectionKey
from perdure.records.canonical import JsonObject, to_json

__all__ = ["CredentialRefreshStore", "StoredCredentials"]

_READ = """
SELECT credentials, credentials_revision, credentials_expires_at, credentials_refreshed_at,
       refresh_failure
  FROM connections WHERE id = $1
"""

# Taken only while everything is as it was when the refresh was found to be due: what changed
# meanwhile is looked at first.
_ACQUIRE = """
UPDATE connections
   SET refresh_lease = $2, refresh_lease_until = clock_timestamp() + $3::interval
 WHERE id = $1
   AND credentials_revision = $4
   AND refresh_failure ->> 'id' IS NOT DISTINCT FROM $5::text
   AND (refresh_lease IS NULL OR refresh_lease_until <= clock_timestamp())
RETURNING id
"""

_PROLONG = """
UPDATE connections SET refresh_lease_until = clock_timestamp() + $3::interval
 WHERE id = $1 AND refresh_lease = $2
"""

_RELEASE = """
UPDATE connections SET refresh_lease = NULL, refresh_lease_until = NULL
 WHERE id = $1 AND refresh_lease = $2
"""

# The lease ends with it, unless somebody else's is there: that one goes on.
_STORE = """
UPDATE connections
   SET credentials = $4,
       credentials_expires_at = $5,
       credentials_refreshed_at = $6,
       credentials_revision = credentials_revision + 1,
       refresh_failure = NULL,
       refresh_lease_until = CASE WHEN refresh_lease = $2 THEN NULL ELSE refresh_lease_until END,
       refresh_lease = nullif(refresh_lease, $2),
       updated_at = now()
 WHERE id = $1 AND (refresh_lease = $2 OR credentials_revision = $3)
RETURNING id
"""

_FAIL = """
UPDATE connections
   SET refresh_failure = $4, refresh_lease = NULL, refresh_lease_until = NULL
 WHERE id = $1 AND refresh_lease = $2 AND credentials_revision = $3
RETURNING id
"""

# Noted before it is done: what cannot be refreshed comes up once in that time, too.
_CLAIM_IDLE = """
WITH idle AS (
    SELECT id
      FROM connections
     WHERE credentials_expires_at < $1
       AND greatest(credentials_refreshed_at, refresh_swept_at, created_at) < $2
       AND (refresh_failure ->> 'exhausted')::boolean IS NOT TRUE
       AND deleting_since IS NULL
     ORDER BY credentials_expires_at
     LIMIT $3
       FOR UPDATE SKIP LOCKED
)
UPDATE connections c SET refresh_swept_at = $4
  FROM idle, integrations i
 WHERE c.id = idle.id AND i.id = c.integration_id
RETURNING c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
          c.metadata, c.connection_config, c.tags, c.end_user,
          c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
          c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
"""


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """Credentials and how they stand, as of one moment.

    Attributes:
        credentials: Decrypted, as JSON.
        revision: Grows with each change of them.
        expires_at: When the token ends, None where it never does or nobody said.
        refreshed_at: When they were refreshed, None where somebody gave them.
        failure: What came of the last refresh, None where that is fine.
    """

    credentials: JsonObject = field(repr=False)
    revision: int
    expires_at: datetime | None
    refreshed_at: datetime | None
    failure: RefreshFailure | None

    @property
    def state(self) -> tuple[int, str | None]:
        """What is another one after each attempt at a refresh, however it ended."""
        return self.revision, self.failure.id if self.failure else None


class CredentialRefreshStore:
    """Keeps the leases and the results of refreshes.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts the credentials, bound to environment, integration and connection.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def read(self, connection: Connection) -> StoredCredentials:
        """Return the credentials of a connection as they are at this moment.

        Raises:
            NotFoundError: `unknown_connection`, it was deleted meanwhile.
            DecryptionError: The key ring cannot read them.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_READ, connection.key)
        if row is None:
            raise unknown_connection_key(connection.key)
        sealed, revision, expires_at, refreshed_at, failure = row.values()
        return StoredCredentials(
            credentials=json.loads(
                self._keyring.decrypt(sealed, aad=aad_of_credentials(connection))
            ),
            revision=revision,
            expires_at=expires_at,
            refreshed_at=refreshed_at,
            failure=None if failure is None else RefreshFailure.from_json(failure),
        )

    async def acquire(
        self, key: ConnectionKey, lease: UUID, seen: StoredCredentials, ttl: timedelta
    ) -> bool:
        """Take the lease; returns False where somebody has it, or something has changed.

        Args:
            key: Which connection.
            lease: Names the holder; a fresh one for each attempt.
            seen: The credentials that are to be refreshed.
            ttl: How long it is held, unless it is made longer.
        """
        revision, failure_id = seen.state
        async with borrowed(self._pool) as conn:
            taken = await conn.fetchval(_ACQUIRE, key, lease, ttl, revision, failure_id)
        return taken is not None

    async def prolong(self, key: ConnectionKey, lease: UUID, ttl: timedelta) -> None:
        """Hold the lease for longer, unless somebody else has it by now."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_PROLONG, key, lease, ttl)

    async def release(self, key: ConnectionKey, lease: UUID) -> None:
        """Give the lease back without a result."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_RELEASE, key, lease)

    async def store(
        self,
        connection: Connection,
        lease: UUID,
        credentials: Mapping[str, Any],
        *,
        of_revision: int,
        refreshed_at: datetime,
    ) -> bool:
        """Store refreshed credentials, and give the lease back.

        Args:
            connection: Whose.
            lease: Under which they were obtained.
            credentials: As JSON; they are encrypted before they leave this process.
            of_revision: What they were made from.
            refreshed_at: When the provider was asked for them.

        Returns:
            False where others are there by now that count more.
        """
        sealed = self._keyring.encrypt(
            to_json(dict(credentials)), aad=aad_of_credentials(connection)
        )
        async with borrowed(self._pool) as conn:
            stored = await conn.fetchval(
                _STORE,
                connection.key,
                lease,
                of_revision,
                sealed,
                expiry_of(credentials),
                refreshed_at,
            )
        return stored is not None

    async def fail(
        self,
        key: ConnectionKey,
        lease: UUID,
        failure: RefreshFailure,
        *,
        of_revision: int,
        conn: DbConnection,
    ) -> bool:
        """Note that a refresh failed, and give the lease back.

        Args:
            key: Which connection.
            lease: Under which it was tried.
            failure: What came of it.
            of_revision: The credentials that were tried.
            conn: Connection in a transaction.

        Returns:
            False where others are there by now: nothing is held against those.
        """
        noted = await conn.fetchval(_FAIL, key, lease, of_revision, failure.to_json())
        return noted is not None

    async def claim_idle(
        self, *, expire_before: datetime, untouched_since: datetime, now: datetime, limit: int
    ) -> Sequence[Connection]:
        """Return connections whose credentials nobody has used for long; each comes up once.

        Args:
            expire_before: Only those whose token ends before that.
            untouched_since: Only those that were not refreshed since, nor returned by this.
            now: From when on they do not come up again until that long ago.
            limit: Most connections to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_CLAIM_IDLE, expire_before, untouched_since, limit, now)
        return [Connection(*row.values()) for row in rows]
