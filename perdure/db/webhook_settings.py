"""Where an environment is told what happened, and the key that signs it.

The key stands encrypted in the table, bound to its environment. It is shown once, when it is made.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["WebhookSettings", "WebhookSettingsStore", "signing_key_aad"]

_GET = """
SELECT primary_url, secondary_url, on_auth_creation, on_auth_refresh_error,
       on_sync_completion_always, on_sync_error, on_async_action_completion, signing_key_created_at
  FROM webhook_settings
 WHERE environment_id = $1
"""

_PUT = """
INSERT INTO webhook_settings (
    environment_id, primary_url, secondary_url, on_auth_creation, on_auth_refresh_error,
    on_sync_completion_always, on_sync_error, on_async_action_completion
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (environment_id) DO UPDATE
   SET primary_url = excluded.primary_url,
       secondary_url = excluded.secondary_url,
       on_auth_creation = excluded.on_auth_creation,
       on_auth_refresh_error = excluded.on_auth_refresh_error,
       on_sync_completion_always = excluded.on_sync_completion_always,
       on_sync_error = excluded.on_sync_error,
       on_async_action_completion = excluded.on_async_action_completion
"""

# There may be no row yet to lock; two first changes are rare enough for the environment's.
_LOCK = "SELECT id FROM environments WHERE id = $1 FOR NO KEY UPDATE"

_KEY = "SELECT signing_key FROM webhook_settings WHERE environment_id = $1"

_MAKE_KEY = """
INSERT INTO webhook_settings AS s (environment_id, signing_key, signing_key_created_at)
VALUES ($1, $2, now())
ON CONFLICT (environment_id) DO UPDATE
   SET signing_key = coalesce(s.signing_key, excluded.signing_key),
       signing_key_created_at =
           coalesce(s.signing_key_created_at, excluded.signing_key_created_at)
RETURNING signing_key
"""

_ROTATE_KEY = """
INSERT INTO webhook_settings (environment_id, signing_key, signing_key_created_at)
VALUES ($1, $2, now())
ON CONFLICT (environment_id) DO UPDATE
   SET signing_key = excluded.signing_key,
       signing_key_created_at = excluded.signing_key_created_at
"""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """What an environment wants to be told, and where.

    Attributes:
        primary_url: Where webhooks go.
        secondary_url: Where they go as well.
        on_auth_creation: Tell of new connections and new credentials.
        on_auth_refresh_error: Tell of credentials that could not be renewed.
        on_sync_completion_always: Tell of syncs that changed nothing, too.
        on_sync_error: Tell of syncs that failed.
        on_async_action_completion: Tell of actions that nobody waited for.
        signing_key_created_at: When the signing key was made, None before the first.
    """

    primary_url: str | None = None
    secondary_url: str | None = None
    on_auth_creation: bool = True
    on_auth_refresh_error: bool = True
    on_sync_completion_always: bool = False
    on_sync_error: bool = True
    on_async_action_completion: bool = True
    signing_key_created_at: datetime | None = None


class WebhookSettingsStore:
    """Keeps the settings of environments.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts the signing keys.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def get(
        self, environment_id: EnvironmentId, *, conn: DbConnection | None = None
    ) -> WebhookSettings:
        """Return the settings; those of an environment that never set any are the defaults.

        Args:
            environment_id: Which environment.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            row = await connection.fetchrow(_GET, environment_id)
        return WebhookSettings() if row is None else WebhookSettings(*row.values())

    async def change(
        self, environment_id: EnvironmentId, changes: dict[str, str | bool | None]
    ) -> WebhookSettings:
        """Set what is named and leave the rest.

        Args:
            environment_id: Which environment.
            changes: By attribute of `WebhookSettings`, except for the key's; a URL that is None
                is removed.
        """
        async with borrowed(self._pool) as conn, conn.transaction():
            await conn.execute(_LOCK, environment_id)
            row = await conn.fetchrow(_GET, environment_id)
            present = WebhookSettings() if row is None else WebhookSettings(*row.values())
            changed = replace(present, **changes)  # type: ignore[arg-type]  # named by attribute
            await conn.execute(
                _PUT,
                environment_id,
                changed.primary_url,
                changed.secondary_url,
                changed.on_auth_creation,
                changed.on_auth_refresh_error,
                changed.on_sync_completion_always,
                changed.on_sync_error,
                changed.on_async_action_completion,
            )
        return changed

    async def signing_key(self, environment_id: EnvironmentId) -> str:
        """Return the key that signs an environment's webhooks; the first one is made here.

        Raises:
            DecryptionError: The key ring cannot read it.
        """
        async with borrowed(self._pool) as conn:
            sealed = await conn.fetchval(_KEY, environment_id)
            if sealed is None:
                sealed = await conn.fetchval(
                    _MAKE_KEY, environment_id, self._seal(_new_key(), environment_id)
                )
        return self._keyring.decrypt(sealed, aad=signing_key_aad(environment_id)).decode()

    async def rotate_signing_key(self, environment_id: EnvironmentId) -> str:
        """Make a new key, which signs from now on, and return it."""
        key = _new_key()
        async with borrowed(self._pool) as conn:
            await conn.execute(_ROTATE_KEY, environment_id, self._seal(key, environment_id))
        return key

    def _seal(self, key: str, environment_id: EnvironmentId) -> bytes:
        return self._keyring.encrypt(key.encode(), aad=signing_key_aad(environment_id))


def _new_key() -> str:
    return secrets.token_hex(32)


def signing_key_aad(environment_id: EnvironmentId) -> bytes:
    """Return what the ciphertext of a row is bound to."""
    return f"perdure/webhook-signing-key/{environment_id}".encode()
