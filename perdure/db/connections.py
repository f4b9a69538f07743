"""Connections: one customer's account with one provider, and the credentials to act for it.

Credentials stand encrypted in the table, bound to their row, and leave only when asked for by
name; no row type carries them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perdure.connections.refreshing import expiry_of
from perdure.crypto.keyring import KeyRing
from perdure.db.integrations import unknown_integration
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.records.canonical import JsonObject, to_json

__all__ = [
    "Connection",
    "ConnectionStore",
    "aad_of_credentials",
    "being_deleted",
    "connection_aad",
    "unknown_connection_key",
]

_INTEGRATION = "SELECT id FROM integrations WHERE environment_id = $1 AND unique_key = $2"

_UPSERT = """
WITH saved AS (
    INSERT INTO connections AS c (
        environment_id, integration_id, connection_id,
        credentials, metadata, connection_config, tags, end_user, webhook_url_override,
        validated_version, set_up_version, credentials_expires_at
    )
    VALUES ($1, $2, $3, $4, $5, coalesce($6::jsonb, '{}'), coalesce($7::jsonb, '{}'), $8, $9,
            CASE WHEN $10 THEN 0 ELSE 1 END, CASE WHEN $10 THEN 0 ELSE 1 END, $11)
    ON CONFLICT (integration_id, connection_id) DO UPDATE
       SET credentials = excluded.credentials,
           metadata = coalesce($5::jsonb, c.metadata),
           connection_config = coalesce($6::jsonb, c.connection_config),
           tags = coalesce($7::jsonb, c.tags),
           end_user = coalesce($8::jsonb, c.end_user),
           webhook_url_override = coalesce($9::text, c.webhook_url_override),
           credentials_version = c.credentials_version + CASE WHEN $10 THEN 1 ELSE 0 END,
           credentials_revision = c.credentials_revision + 1,
           credentials_expires_at = excluded.credentials_expires_at,
           -- Whatever is known of the credentials that were there does not count for these, and
           -- whoever is about to refresh those must not put them back.
           credentials_refreshed_at = NULL,
           refresh_failure = NULL,
           refresh_lease = NULL,
           refresh_lease_until = NULL,
           refresh_swept_at = NULL,
           updated_at = now()
     WHERE c.deleting_since IS NULL
    RETURNING c.*, xmax = 0 AS created
)
SELECT c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
       c.metadata, c.connection_config, c.tags, c.end_user,
       c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
       c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure, c.created
  FROM saved c JOIN integrations i ON i.id = c.integration_id
"""

_GET = """
SELECT c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
       c.metadata, c.connection_config, c.tags, c.end_user,
       c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
       c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
  FROM connections c JOIN integrations i ON i.id = c.integration_id
 WHERE i.environment_id = $1 AND i.unique_key = $2 AND c.connection_id = $3
"""

_BY_KEY = """
SELECT c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
       c.metadata, c.connection_config, c.tags, c.end_user,
       c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
       c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
  FROM connections c JOIN integrations i ON i.id = c.integration_id
 WHERE c.id = $1
"""

_LIST = """
SELECT c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
       c.metadata, c.connection_config, c.tags, c.end_user,
       c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
       c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
  FROM connections c JOIN integrations i ON i.id = c.integration_id
 WHERE c.environment_id = $1
   AND ($2::text[] IS NULL OR i.unique_key = ANY ($2))
   AND ($3::text IS NULL OR c.connection_id = $3)
   AND ($4::text IS NULL
        OR strpos(lower(c.connection_id), lower($4)) > 0
        OR strpos(lower(c.end_user ->> 'email'), lower($4)) > 0
        OR strpos(lower(c.end_user ->> 'display_name'), lower($4)) > 0)
   AND ($5::text IS NULL OR c.end_user ->> 'id' = $5)
   AND ($6::text IS NULL OR c.end_user #>> '{organization,id}' = $6)
   AND ($7::jsonb IS NULL OR c.tags @> $7)
 ORDER BY c.id DESC
 LIMIT $8 OFFSET $9
"""

_PAGE = """
SELECT c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
       c.metadata, c.connection_config, c.tags, c.end_user,
       c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
       c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
  FROM connections c JOIN integrations i ON i.id = c.integration_id
 WHERE c.environment_id = $1 AND c.id > $2
 ORDER BY c.id
 LIMIT $3
"""

_WITH_CONFIG = """
SELECT c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
       c.metadata, c.connection_config, c.tags, c.end_user,
       c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
       c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
  FROM connections c JOIN integrations i ON i.id = c.integration_id
 WHERE c.integration_id = $1 AND c.connection_config @> $2
 ORDER BY c.id
"""

_COUNT_BY_INTEGRATION = """
SELECT i.unique_key, count(*)
  FROM connections c JOIN integrations i ON i.id = c.integration_id
 WHERE c.environment_id = $1
 GROUP BY i.unique_key
"""

_UPDATE = """
UPDATE connections c
   SET tags = coalesce($4::jsonb, c.tags),
       end_user = coalesce($5::jsonb, c.end_user),
       connection_config = coalesce($6::jsonb, c.connection_config),
       webhook_url_override =
           CASE WHEN $7::text IS NULL THEN c.webhook_url_override ELSE nullif($7, '') END,
       updated_at = now()
  FROM integrations i
 WHERE i.id = c.integration_id
   AND i.environment_id = $1 AND i.unique_key = $2 AND c.connection_id = $3
RETURNING c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
          c.metadata, c.connection_config, c.tags, c.end_user,
          c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
          c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
"""

# Rows are locked in the order of their ids, so that two writers never wait in a circle.
_LOCK = """
SELECT c.id, c.connection_id
  FROM connections c JOIN integrations i ON i.id = c.integration_id
 WHERE i.environment_id = $1 AND i.unique_key = $2 AND c.connection_id = ANY ($3::text[])
 ORDER BY c.id
   FOR UPDATE OF c
"""

_WRITE_METADATA = """
UPDATE connections
   SET metadata = CASE WHEN $3 THEN coalesce(metadata, '{}') || $2 ELSE $2 END, updated_at = now()
 WHERE id = ANY ($1::bigint[])
"""

_CREDENTIALS = "SELECT credentials FROM connections WHERE id = $1"

_WEBHOOK_URL = "SELECT webhook_url_override FROM connections WHERE id = $1"

# Once a minute is exact enough for people, and spares a write for each call of a provider.
_MARK_FETCHED = """
UPDATE connections SET last_fetched_at = now()
 WHERE id = $1 AND (last_fetched_at IS NULL OR last_fetched_at < now() - interval '1 minute')
"""

_DELETE = """
DELETE FROM connections c
 USING integrations i
 WHERE i.id = c.integration_id
   AND i.environment_id = $1 AND i.unique_key = $2 AND c.connection_id = $3
RETURNING c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
          c.metadata, c.connection_config, c.tags, c.end_user,
          c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
          c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
"""


@dataclass(frozen=True, slots=True)
class Connection:
    """One customer's account with one provider, without its credentials.

    Attributes:
        key: Row id.
        environment_id: Where it belongs.
        integration_id: Row id of its integration.
        integration: Key of its integration.
        provider: Name of its provider.
        connection_id: The name users gave it.
        metadata: JSON object that belongs to the application, None where it never set one.
        connection_config: Parameters of the provider, such as a subdomain.
        tags: Strings by name, for reconciliation.
        end_user: Whom it belongs to: `id`, `email`, `display_name`, `organization` and the like.
        created_at: When it was made.
        updated_at: When it was last changed.
        last_fetched_at: When its credentials were last asked for, to the minute.
        webhook_url_override: Where its webhooks go instead of the environment's URLs.
        credentials_version: Grows with each time credentials are given that are to be checked.
        auth_error_run_id: The run that refused its credentials, None where none did.
        deleting_since: Since when it is being deleted, None where it is not.
        refresh_failure: What came of the last refresh of its credentials, None where that is fine.
            See `RefreshFailure.from_json`.
    """

    key: ConnectionKey
    environment_id: EnvironmentId
    integration_id: int
    integration: str
    provider: str
    connection_id: str
    metadata: JsonObject | None
    connection_config: JsonObject
    tags: dict[str, str]
    end_user: JsonObject | None
    created_at: datetime
    updated_at: datetime
    last_fetched_at: datetime | None
    webhook_url_override: str | None
    credentials_version: int
    auth_error_run_id: str | None
    deleting_since: datetime | None
    refresh_failure: JsonObject | None

    def refuse_deleting(self) -> None:
        """Let nothing new begin for a connection that is being deleted.

        Raises:
            ConflictError: `connection_being_deleted`.
        """
        if self.deleting_since is not None:
            raise being_deleted(self.integration, self.connection_id)


class ConnectionStore:
    """Keeps connections.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts the credentials, bound to environment, integration and connection.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def save(
        self,
        environment_id: EnvironmentId,
        integration: str,
        connection_id: str,
        credentials: Mapping[str, Any],
        *,
        metadata: Mapping[str, Any] | None = None,
        connection_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        end_user: Mapping[str, Any] | None = None,
        webhook_url_override: str | None = None,
        awaits_setup: bool = False,
    ) -> tuple[Connection, bool]:
        """Make a connection, or give an existing one new credentials.

        Args:
            environment_id: Where it belongs.
            integration: Key of its integration.
            connection_id: Its name.
            credentials: A JSON object; it is encrypted before it leaves this process.
            metadata: As the attribute; None leaves what is there, as with the next four.
            connection_config: As the attribute.
            tags: As the attribute.
            end_user: As the attribute.
            webhook_url_override: As the attribute.
            awaits_setup: Whether a workflow is to check the credentials and set the connection up.

        Returns:
            The connection, and whether it is new.

        Raises:
            NotFoundError: `unknown_provider_config`.
            ConflictError: `connection_being_deleted`.
            InvalidInputError: `unstorable_text`, such as a NUL character in the metadata.
        """
        async with borrowed(self._pool) as conn:
            integration_id = await conn.fetchval(_INTEGRATION, environment_id, integration)
            if integration_id is None:
                raise unknown_integration(integration)
            row = await conn.fetchrow(
                _UPSERT,
                environment_id,
                integration_id,
                connection_id,
                self._seal(
                    credentials, connection_aad(environment_id, integration_id, connection_id)
                ),
                metadata,
                connection_config,
                tags,
                end_user,
                webhook_url_override,
                awaits_setup,
                expiry_of(credentials),
            )
        if row is None:
            raise being_deleted(integration, connection_id)
        *values, created = row.values()
        return Connection(*values), created

    async def get(
        self, environment_id: EnvironmentId, integration: str, connection_id: str
    ) -> Connection:
        """Return a connection.

        Raises:
            NotFoundError: `unknown_connection` or `unknown_provider_config`.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_GET, environment_id, integration, connection_id)
            if row is None:
                raise await _unknown(conn, environment_id, integration, connection_id)
        return Connection(*row.values())

    async def by_key(self, key: ConnectionKey) -> Connection:
        """Return a connection by its row id.

        Raises:
            NotFoundError: `unknown_connection`.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_BY_KEY, key)
        if row is None:
            raise unknown_connection_key(key)
        return Connection(*row.values())

    async def list(
        self,
        environment_id: EnvironmentId,
        *,
        integrations: Sequence[str] | None = None,
        connection_id: str | None = None,
        search: str | None = None,
        end_user_id: str | None = None,
        end_user_organization_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        limit: int = 10_000,
        offset: int = 0,
    ) -> Sequence[Connection]:
        """Return connections, newest first; all conditions hold at once.

        Args:
            environment_id: Where they belong.
            integrations: Only those of these integrations.
            connection_id: Only those of exactly this name.
            search: Only those with this text in their name, or their end user's email or name.
            end_user_id: Only those of this end user.
            end_user_organization_id: Only those of this organization.
            tags: Only those that have all of these tags.
            limit: Most connections to return.
            offset: How many to skip.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _LIST,
                environment_id,
                integrations,
                connection_id,
                search,
                end_user_id,
                end_user_organization_id,
                tags,
                limit,
                offset,
            )
        return [Connection(*row.values()) for row in rows]

    async def page(
        self, environment_id: EnvironmentId, *, after: ConnectionKey, limit: int
    ) -> Sequence[Connection]:
        """Return connections in the order of their keys, for going through all of them.

        Args:
            environment_id: Where they belong.
            after: Only those with a higher key.
            limit: Most connections to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_PAGE, environment_id, after, limit)
        return [Connection(*row.values()) for row in rows]

    async def with_config(
        self, integration_id: int, config: Mapping[str, Any]
    ) -> Sequence[Connection]:
        """Return the connections of an integration that have all of these parameters."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_WITH_CONFIG, integration_id, config)
        return [Connection(*row.values()) for row in rows]

    async def count_by_integration(self, environment_id: EnvironmentId) -> dict[str, int]:
        """Return how many connections there are, by integration; those without any are left out."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_COUNT_BY_INTEGRATION, environment_id)
        return {row["unique_key"]: row["count"] for row in rows}

    async def update(
        self,
        environment_id: EnvironmentId,
        integration: str,
        connection_id: str,
        *,
        tags: Mapping[str, str] | None = None,
        end_user: Mapping[str, Any] | None = None,
        connection_config: Mapping[str, Any] | None = None,
        webhook_url_override: str | None = None,
    ) -> Connection:
        """Replace what is given and leave the rest; an empty URL removes it.

        Raises:
            NotFoundError: `unknown_connection` or `unknown_provider_config`.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(
                _UPDATE,
                environment_id,
                integration,
                connection_id,
                tags,
                end_user,
                connection_config,
                webhook_url_override,
            )
            if row is None:
                raise await _unknown(conn, environment_id, integration, connection_id)
        return Connection(*row.values())

    async def set_metadata(
        self,
        environment_id: EnvironmentId,
        integration: str,
        connection_ids: Sequence[str],
        metadata: Mapping[str, Any],
    ) -> None:
        """Replace the metadata of connections, of all of them or of none.

        Raises:
            NotFoundError: `unknown_connection` or `unknown_provider_config`.
            InvalidInputError: `unstorable_text`.
        """
        await self._write_metadata(environment_id, integration, connection_ids, metadata, False)

    async def merge_metadata(
        self,
        environment_id: EnvironmentId,
        integration: str,
        connection_ids: Sequence[str],
        metadata: Mapping[str, Any],
    ) -> None:
        """Set single keys of the metadata of connections, of all of them or of none.

        Raises:
            NotFoundError: `unknown_connection` or `unknown_provider_config`.
            InvalidInputError: `unstorable_text`.
        """
        await self._write_metadata(environment_id, integration, connection_ids, metadata, True)

    async def credentials(self, connection: Connection) -> JsonObject:
        """Return the decrypted credentials as they are at this moment.

        Raises:
            NotFoundError: `unknown_connection`, it was deleted meanwhile.
            DecryptionError: The key ring cannot read them.
        """
        async with borrowed(self._pool) as conn:
            sealed = await conn.fetchval(_CREDENTIALS, connection.key)
        if sealed is None:
            raise unknown_connection_key(connection.key)
        opened: JsonObject = json.loads(
            self._keyring.decrypt(sealed, aad=aad_of_credentials(connection))
        )
        return opened

    async def mark_fetched(self, key: ConnectionKey) -> None:
        """Note that the credentials were asked for; at most one write a minute."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_MARK_FETCHED, key)

    async def webhook_url_override(
        self, key: ConnectionKey, *, conn: DbConnection | None = None
    ) -> str | None:
        """Return where a connection's webhooks go, None for the environment's URLs.

        Args:
            key: Row id; of a connection that is gone there is none.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            url: str | None = await connection.fetchval(_WEBHOOK_URL, key)
        return url

    async def delete(
        self, environment_id: EnvironmentId, integration: str, connection_id: str
    ) -> Connection:
        """Delete a connection with its syncs and records; its runs stay.

        Returns:
            The connection as it was.

        Raises:
            NotFoundError: `unknown_connection` or `unknown_provider_config`.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_DELETE, environment_id, integration, connection_id)
            if row is None:
                raise await _unknown(conn, environment_id, integration, connection_id)
        return Connection(*row.values())

    async def _write_metadata(
        self,
        environment_id: EnvironmentId,
        integration: str,
        connection_ids: Sequence[str],
        metadata: Mapping[str, Any],
        merge: bool,
    ) -> None:
        names = sorted(set(connection_ids))
        async with borrowed(self._pool) as conn, conn.transaction():
            rows = await conn.fetch(_LOCK, environment_id, integration, names)
            if len(rows) < len(names):
                known = {row["connection_id"] for row in rows}
                missing = next(name for name in names if name not in known)
                raise await _unknown(conn, environment_id, integration, missing)
            await conn.execute(_WRITE_METADATA, [row["id"] for row in rows], metadata, merge)

    def _seal(self, credentials: Mapping[str, Any], aad: bytes) -> bytes:
        return self._keyring.encrypt(to_json(dict(credentials)), aad=aad)


def connection_aad(environment_id: EnvironmentId, integration_id: int, connection_id: str) -> bytes:
    """Return what the ciphertext of a row is bound to."""
    # Row ids where names can change: an integration may be renamed, a connection may not.
    text = f"perdure/connection/{environment_id}/{integration_id}/{connection_id}"
    return text.encode("utf-8", "surrogatepass")


def aad_of_credentials(connection: Connection) -> bytes:
    """Return what the ciphertext of a connection's credentials is bound to."""
    return connection_aad(
        connection.environment_id, connection.integration_id, connection.connection_id
    )


async def _unknown(
    conn: DbConnection, environment_id: EnvironmentId, integration: str, connection_id: str
) -> NotFoundError:
    if await conn.fetchval(_INTEGRATION, environment_id, integration) is None:
        return unknown_integration(integration)
    msg = f"There is no connection {connection_id!r} of integration {integration!r}."
    return NotFoundError(msg, code="unknown_connection")


def unknown_connection_key(key: ConnectionKey) -> NotFoundError:
    """Return the error that says that there is no connection with this row id."""
    msg = f"The connection with key {key} does not exist any more."
    return NotFoundError(msg, code="unknown_connection")


def being_deleted(integration: str, connection_id: str) -> ConflictError:
    """Return the error that says that a connection is on its way out."""
    msg = f"The connection {connection_id!r} of {integration!r} is being deleted."
    return ConflictError(msg, code="connection_being_deleted")
