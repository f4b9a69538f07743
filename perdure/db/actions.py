"""What is known of actions beside their runs: limits, disabled ones, and keys of calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["ActionKey", "ActionLimits", "ActionStore"]

_LIMITS = """
SELECT environment_limit, connection_limit FROM action_settings WHERE environment_id = $1
"""

_SET_LIMITS = """
INSERT INTO action_settings AS s (environment_id, environment_limit, connection_limit)
VALUES ($1, coalesce($2::integer, $4), coalesce($3::integer, $5))
ON CONFLICT (environment_id) DO UPDATE
   SET environment_limit = coalesce($2::integer, s.environment_limit),
       connection_limit = coalesce($3::integer, s.connection_limit)
RETURNING environment_limit, connection_limit
"""

_DISABLE = """
INSERT INTO disabled_actions (environment_id, integration, action) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
"""

_ENABLE = """
DELETE FROM disabled_actions WHERE environment_id = $1 AND integration = $2 AND action = $3
"""

_IS_DISABLED = """
SELECT EXISTS (
    SELECT FROM disabled_actions WHERE environment_id = $1 AND integration = $2 AND action = $3)
"""

_DISABLED = "SELECT integration, action FROM disabled_actions WHERE environment_id = $1"

_CLAIM = """
INSERT INTO action_keys (environment_id, id, fingerprint) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING id
"""

_OLD_KEYS = """
SELECT k.environment_id, k.id, k.created_at, e.name AS environment
  FROM action_keys k JOIN environments e ON e.id = k.environment_id
 WHERE k.created_at < $1 AND (k.created_at, k.id) > ($2, $3)
 ORDER BY k.created_at, k.id
 LIMIT $4
"""

_DROP_KEYS = """
DELETE FROM action_keys k
 USING unnest($1::bigint[], $2::uuid[]) AS u (environment_id, id)
 WHERE k.environment_id = u.environment_id AND k.id = u.id
"""

_FINGERPRINT = "SELECT fingerprint FROM action_keys WHERE environment_id = $1 AND id = $2"


@dataclass(frozen=True, slots=True)
class ActionKey:
    """An idempotency key that came with a call.

    Attributes:
        environment_id: Where.
        environment: The environment's name.
        id: The action's id, which follows from the key.
        created_at: When it came first.
    """

    environment_id: EnvironmentId
    environment: str
    id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ActionLimits:
    """How many asynchronous actions run at the same time.

    Attributes:
        environment: In the whole environment.
        connection: For one connection.
    """

    environment: int = 100
    connection: int = 10


class ActionStore:
    """Keeps settings of actions and keys of their calls."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def limits(
        self, environment_id: EnvironmentId, *, conn: DbConnection | None = None
    ) -> ActionLimits:
        """Return the limits; those of an environment that never set any are the defaults.

        Args:
            environment_id: Which environment.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            row = await connection.fetchrow(_LIMITS, environment_id)
        return ActionLimits() if row is None else ActionLimits(*row.values())

    async def set_limits(
        self, environment_id: EnvironmentId, *, environment: int | None, connection: int | None
    ) -> ActionLimits:
        """Set what is given and leave the rest.

        Args:
            environment_id: Which environment.
            environment: Limit of the whole environment, at least 1.
            connection: Limit of one connection, at least 1.
        """
        default = ActionLimits()
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(
                _SET_LIMITS,
                environment_id,
                environment,
                connection,
                default.environment,
                default.connection,
            )
        return ActionLimits(*row.values()) if row is not None else default

    async def disable(self, environment_id: EnvironmentId, integration: str, action: str) -> None:
        """Refuse calls of an action from now on; runs under way go on."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_DISABLE, environment_id, integration, action)

    async def enable(self, environment_id: EnvironmentId, integration: str, action: str) -> None:
        """Take calls of an action again."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_ENABLE, environment_id, integration, action)

    async def is_disabled(
        self, environment_id: EnvironmentId, integration: str, action: str
    ) -> bool:
        """Say whether an action is disabled."""
        async with borrowed(self._pool) as conn:
            found: bool = await conn.fetchval(_IS_DISABLED, environment_id, integration, action)
        return found

    async def disabled(self, environment_id: EnvironmentId) -> frozenset[tuple[str, str]]:
        """Return the disabled actions: integration and name."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_DISABLED, environment_id)
        return frozenset((row["integration"], row["action"]) for row in rows)

    async def fingerprint(self, environment_id: EnvironmentId, action_id: UUID) -> bytes | None:
        """Return what the first call with a key was, None where the key is free.

        Args:
            environment_id: Where.
            action_id: The id that follows from the key.
        """
        async with borrowed(self._pool) as conn:
            first: bytes | None = await conn.fetchval(_FINGERPRINT, environment_id, action_id)
        return first

    async def claim_key(
        self, environment_id: EnvironmentId, action_id: UUID, fingerprint: bytes
    ) -> bytes | None:
        """Note what a call with an idempotency key is; the first one counts.

        Args:
            environment_id: Where.
            action_id: The id that follows from the key.
            fingerprint: Hash of the action and its input.

        Returns:
            The fingerprint of the call that came first, None where that is this one.
        """
        async with borrowed(self._pool) as conn:
            if await conn.fetchval(_CLAIM, environment_id, action_id, fingerprint) is not None:
                return None
            first: bytes = await conn.fetchval(_FINGERPRINT, environment_id, action_id)
        return first

    async def old_keys(
        self, before: datetime, *, after: ActionKey | None = None, limit: int
    ) -> list[ActionKey]:
        """Return keys of all environments, the oldest first.

        Args:
            before: Only those that came before this moment.
            after: The last key of the page before.
            limit: Most keys to return.
        """
        start = (datetime.min.replace(tzinfo=UTC), UUID(int=0))
        place = (after.created_at, after.id) if after else start
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_OLD_KEYS, before, *place, limit)
        return [ActionKey(**row) for row in rows]

    async def drop_keys(self, keys: Sequence[ActionKey]) -> None:
        """Forget keys: a call with one of them is a new call."""
        async with borrowed(self._pool) as conn:
            await conn.execute(
                _DROP_KEYS, [key.environment_id for key in keys], [key.id for key in keys]
            )
