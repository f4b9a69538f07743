"""What has to be known before an action is called, read in one round trip: somebody waits."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.crypto.keyring import KeyRing
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.db.pool import Pool, borrowed
from perdure.db.variables import variable_aad
from perdure.ids import EnvironmentId

__all__ = ["ActionCallFacts", "ActionCallStore"]

_READ = """
SELECT EXISTS (SELECT FROM disabled_actions d
                WHERE d.environment_id = e.id AND d.integration = $2 AND d.action = $4),
       v.value,
       e.id, e.name, e.active_bundle, e.validation, e.created_at, e.uuid,
       c.id, c.environment_id, c.integration_id, i.unique_key, i.provider, c.connection_id,
       c.metadata, c.connection_config, c.tags, c.end_user,
       c.created_at, c.updated_at, c.last_fetched_at, c.webhook_url_override,
       c.credentials_version, c.auth_error_run_id, c.deleting_since, c.refresh_failure
  FROM environments e
  JOIN integrations i ON i.environment_id = e.id AND i.unique_key = $2
  JOIN connections c ON c.integration_id = i.id AND c.connection_id = $3
  LEFT JOIN environment_variables v ON v.environment_id = e.id AND v.name = $5
 WHERE e.id = $1
"""

# How many of the columns are the environment's.
_OF_ENVIRONMENT = 6


@dataclass(frozen=True, slots=True)
class ActionCallFacts:
    """What a call of an action meets.

    Attributes:
        environment: As it is now.
        connection: For whom it runs.
        is_disabled: Whether the action is.
        variable: Value of the variable that was asked for, None where it is not set.
    """

    environment: Environment
    connection: Connection
    is_disabled: bool
    variable: str | None


class ActionCallStore:
    """Reads what calls of actions need.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Decrypts variables.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def facts(
        self,
        environment_id: EnvironmentId,
        integration: str,
        connection_id: str,
        action: str,
        *,
        variable: str,
    ) -> ActionCallFacts | None:
        """Return what a call meets, None where there is no such connection.

        Args:
            environment_id: Where.
            integration: Key of the connection's integration.
            connection_id: The connection's name.
            action: Name of the action.
            variable: Name of a variable of the environment that is read along.

        Raises:
            DecryptionError: The key ring cannot read the variable.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(
                _READ, environment_id, integration, connection_id, action, variable
            )
        if row is None:
            return None
        is_disabled, sealed, *values = row.values()
        value = (
            None
            if sealed is None
            else self._keyring.decrypt(sealed, aad=variable_aad(environment_id, variable)).decode()
        )
        return ActionCallFacts(
            environment=Environment(*values[:_OF_ENVIRONMENT]),
            connection=Connection(*values[_OF_ENVIRONMENT:]),
            is_disabled=is_disabled,
            variable=value,
        )
