"""Integrations: which providers an environment speaks to, and with which client credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import asyncpg

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import BundleHash, EnvironmentId
from perdure.records.canonical import JsonObject, to_json

__all__ = [
    "Integration",
    "IntegrationStore",
    "WebhookEndpoint",
    "integration_aad",
    "unknown_integration",
]

_INSERT = """
INSERT INTO integrations (
    environment_id, unique_key, provider, display_name, credentials, forward_webhooks,
    webhook_rules, integration_config, custom
)
VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8::jsonb, '{}'), coalesce($9::jsonb, '{}'))
RETURNING id, environment_id, unique_key, provider, display_name, created_at, updated_at,
          forward_webhooks, webhook_rules, integration_config, custom
"""

_GET = """
SELECT id, environment_id, unique_key, provider, display_name, created_at, updated_at,
       forward_webhooks, webhook_rules, integration_config, custom
  FROM integrations
 WHERE environment_id = $1 AND unique_key = $2
"""

_BY_ID = """
SELECT id, environment_id, unique_key, provider, display_name, created_at, updated_at,
       forward_webhooks, webhook_rules, integration_config, custom
  FROM integrations
 WHERE id = $1
"""

_LIST = """
SELECT id, environment_id, unique_key, provider, display_name, created_at, updated_at,
       forward_webhooks, webhook_rules, integration_config, custom
  FROM integrations
 WHERE environment_id = $1
 ORDER BY unique_key
"""

# By name or, in addresses that should not tell it, by the public name.
_ENDPOINT = """
SELECT i.id, e.id AS environment_id, i.unique_key, i.provider, i.display_name, i.created_at,
       i.updated_at, i.forward_webhooks, i.webhook_rules, i.integration_config, i.custom,
       e.name, e.active_bundle, i.credentials
  FROM environments e
       LEFT JOIN integrations i ON i.environment_id = e.id AND i.unique_key = $2
 WHERE e.name = $1 OR e.uuid::text = lower($1)
 ORDER BY e.name = $1 DESC
 LIMIT 1
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
       forward_webhooks = coalesce($6, forward_webhooks),
       webhook_rules = CASE WHEN $7 THEN $8 ELSE webhook_rules END,
       integration_config = coalesce($9::jsonb, integration_config),
       custom = coalesce($10::jsonb, custom),
       updated_at = now()
 WHERE environment_id = $1 AND unique_key = $2
RETURNING id, environment_id, unique_key, provider, display_name, created_at, updated_at,
          forward_webhooks, webhook_rules, integration_config, custom
"""

_HAS_CONNECTIONS = """
SELECT EXISTS (
    SELECT FROM connections c JOIN integrations i ON i.id = c.integration_id
     WHERE i.environment_id = $1 AND i.unique_key = $2
)
"""

_SET_CREDENTIALS = """
UPDATE integrations SET credentials = $3, updated_at = now()
 WHERE environment_id = $1 AND unique_key = $2
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
        forward_webhooks: Whether what the provider sends is handed on to the application.
        webhook_rules: What takes the place of the provider's rules, None where nothing does.
        integration_config: What the provider's entry asks for once for all connections.
        custom: What clients keep with it.
    """

    id: int
    environment_id: EnvironmentId
    unique_key: str
    provider: str
    display_name: str
    created_at: datetime
    updated_at: datetime
    forward_webhooks: bool
    webhook_rules: JsonObject | None
    integration_config: JsonObject
    custom: JsonObject


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where a provider sends its webhooks: one integration.

    Attributes:
        environment: Name of its environment.
        integration: The integration.
        secret: What proves that a webhook is the provider's, None where none is set.
        active_bundle: Hash of the bundle that handles webhooks, None where none is deployed.
    """

    environment: str
    integration: Integration
    secret: str | None = field(repr=False)
    active_bundle: BundleHash | None


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
        forward_webhooks: bool = False,
        webhook_rules: Mapping[str, Any] | None = None,
        integration_config: Mapping[str, str] | None = None,
        custom: Mapping[str, str] | None = None,
    ) -> Integration:
        """Make an integration.

        Args:
            environment_id: Where it belongs.
            unique_key: Its name.
            provider: Name of the provider.
            display_name: Name for people. Default: the provider's name.
            credentials: Client id and secret and the like, a JSON object.
            forward_webhooks: As the attribute.
            webhook_rules: As the attribute.
            integration_config: As the attribute.
            custom: As the attribute.

        Raises:
            ConflictError: `unique_key_already_exists`.
        """
        sealed = self._seal(environment_id, unique_key, credentials)
        try:
            async with borrowed(self._pool) as conn:
                row = await conn.fetchrow(
                    _INSERT,
                    environment_id,
                    unique_key,
                    provider,
                    display_name or provider,
                    sealed,
                    forward_webhooks,
                    webhook_rules,
                    integration_config,
                    custom,
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

    async def by_id(self, integration_id: int) -> Integration:
        """Return an integration by its row id.

        Raises:
            NotFoundError: `unknown_provider_config`.
        """
        async with borrowed(self._pool) as conn:
            return _integration(await conn.fetchrow(_BY_ID, integration_id), str(integration_id))

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

    async def endpoint(self, environment: str, unique_key: str) -> WebhookEndpoint:
        """Return where a provider sends its webhooks.

        Args:
            environment: Name of the environment, or its public name.
            unique_key: Key of the integration.

        Raises:
            NotFoundError: `unknown_environment` or `unknown_provider_config`.
            DecryptionError: The key ring cannot read the secret.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_ENDPOINT, environment, unique_key)
        if row is None:
            msg = f"There is no environment {environment!r}."
            raise NotFoundError(msg, code="unknown_environment")
        *values, name, active_bundle, sealed = row.values()
        if row["id"] is None:
            raise unknown_integration(unique_key)
        integration = Integration(*values)
        opened = self._open(integration.environment_id, unique_key, sealed) or {}
        return WebhookEndpoint(name, integration, opened.get("webhook_secret"), active_bundle)

    async def update(
        self,
        environment_id: EnvironmentId,
        unique_key: str,
        *,
        new_unique_key: str | None = None,
        display_name: str | None = None,
        credentials: Mapping[str, Any] | None = None,
        forward_webhooks: bool | None = None,
        webhook_rules: Mapping[str, Any] | Literal["same"] | None = "same",
        integration_config: Mapping[str, str] | None = None,
        custom: Mapping[str, str] | None = None,
    ) -> Integration:
        """Change what is given and leave the rest.

        Args:
            environment_id: Where it belongs.
            unique_key: Its name.
            new_unique_key: Its new name; schedules and runs go by the old one as long as there are
                connections, so there must be none.
            display_name: Name for people.
            credentials: What is to be set of the credentials; None in it removes.
            forward_webhooks: As the attribute.
            webhook_rules: As the attribute; None removes them.
            integration_config: As the attribute.
            custom: As the attribute.

        Raises:
            NotFoundError: `unknown_provider_config`.
            ConflictError: `unique_key_already_exists` or `integration_has_connections`.
        """
        key = new_unique_key or unique_key
        rules = None if webhook_rules == "same" else webhook_rules
        try:
            async with borrowed(self._pool) as conn, conn.transaction():
                # The ciphertext is bound to the key: a new key needs a new ciphertext.
                known = await self._locked(conn, environment_id, unique_key)
                if key != unique_key and await conn.fetchval(
                    _HAS_CONNECTIONS, environment_id, unique_key
                ):
                    raise _has_connections(unique_key)
                row = await conn.fetchrow(
                    _UPDATE,
                    environment_id,
                    unique_key,
                    key,
                    display_name,
                    self._seal(environment_id, key, _changed(known, credentials)),
                    forward_webhooks,
                    webhook_rules != "same",
                    rules,
                    integration_config,
                    custom,
                )
        except asyncpg.UniqueViolationError as error:
            raise _taken(key) from error
        return _integration(row, unique_key)

    async def keep_webhook_secret(
        self, environment_id: EnvironmentId, unique_key: str, secret: str
    ) -> bool:
        """Set the webhook secret where there is none; returns whether it is the one now."""
        async with borrowed(self._pool) as conn, conn.transaction():
            known = await self._locked(conn, environment_id, unique_key) or {}
            if known.get("webhook_secret"):
                return bool(known["webhook_secret"] == secret)
            sealed = self._seal(environment_id, unique_key, {**known, "webhook_secret": secret})
            await conn.execute(_SET_CREDENTIALS, environment_id, unique_key, sealed)
        return True

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
            to_json(dict(credentials)), aad=integration_aad(environment_id, unique_key)
        )

    def _open(
        self, environment_id: EnvironmentId, unique_key: str, sealed: bytes | None
    ) -> JsonObject | None:
        if sealed is None:
            return None
        opened: JsonObject = json.loads(
            self._keyring.decrypt(sealed, aad=integration_aad(environment_id, unique_key))
        )
        return opened


def unknown_integration(unique_key: str) -> NotFoundError:
    """Return the error that says that an environment has no such integration."""
    msg = f"There is no integration {unique_key!r} in this environment."
    return NotFoundError(msg, code="unknown_provider_config")


def _changed(known: JsonObject | None, changes: Mapping[str, Any] | None) -> JsonObject | None:
    if changes is None:
        return known
    values = {**(known or {}), **changes}
    return {name: value for name, value in values.items() if value is not None} or None


def integration_aad(environment_id: EnvironmentId, unique_key: str) -> bytes:
    """Return what the ciphertext of a row is bound to."""
    text = f"perdure/integration/{environment_id}/{unique_key}"
    return text.encode("utf-8", "surrogatepass")


def _integration(row: asyncpg.Record | None, unique_key: str) -> Integration:
    if row is None:
        raise unknown_integration(unique_key)
    return Integration(*row.values())


def _has_connections(unique_key: str) -> ConflictError:
    msg = f"The integration {unique_key!r} has connections; it cannot be renamed."
    return ConflictError(msg, code="integration_has_connections")


def _taken(unique_key: str) -> ConflictError:
    msg = f"An integration {unique_key!r} exists already in this environment."
    return ConflictError(msg, code="unique_key_already_exists")
