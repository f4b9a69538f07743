"""Variables of environments: settings and secrets of scripts, encrypted at rest."""

from __future__ import annotations

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import Pool, borrowed
from perdure.errors import NotFoundError
from perdure.ids import EnvironmentId

__all__ = ["VariableStore", "variable_aad"]

_SET = """
INSERT INTO environment_variables (environment_id, name, value) VALUES ($1, $2, $3)
ON CONFLICT (environment_id, name) DO UPDATE SET value = excluded.value, updated_at = now()
"""

_GET = "SELECT value FROM environment_variables WHERE environment_id = $1 AND name = $2"

_ALL = "SELECT name, value FROM environment_variables WHERE environment_id = $1 ORDER BY name"

_DELETE = """
DELETE FROM environment_variables WHERE environment_id = $1 AND name = $2 RETURNING name
"""


class VariableStore:
    """Keeps the variables of environments.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts the values, bound to environment and name.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def set(self, environment_id: EnvironmentId, name: str, value: str) -> None:
        """Set a variable, whether or not it was there."""
        sealed = self._keyring.encrypt(value.encode(), aad=variable_aad(environment_id, name))
        async with borrowed(self._pool) as conn:
            await conn.execute(_SET, environment_id, name, sealed)

    async def get(self, environment_id: EnvironmentId, name: str) -> str | None:
        """Return the value of a variable, None where it is not set.

        Raises:
            DecryptionError: The key ring cannot read it.
        """
        async with borrowed(self._pool) as conn:
            sealed = await conn.fetchval(_GET, environment_id, name)
        return None if sealed is None else self._open(environment_id, name, sealed)

    async def all(self, environment_id: EnvironmentId) -> dict[str, str]:
        """Return all variables in the order of their names.

        Raises:
            DecryptionError: The key ring cannot read one of them.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_ALL, environment_id)
        return {row["name"]: self._open(environment_id, row["name"], row["value"]) for row in rows}

    async def delete(self, environment_id: EnvironmentId, name: str) -> None:
        """Delete a variable.

        Raises:
            NotFoundError: `unknown_environment_variable`.
        """
        async with borrowed(self._pool) as conn:
            if await conn.fetchval(_DELETE, environment_id, name) is None:
                msg = f"There is no variable {name!r} in this environment."
                raise NotFoundError(msg, code="unknown_environment_variable")

    def _open(self, environment_id: EnvironmentId, name: str, sealed: bytes) -> str:
        return self._keyring.decrypt(sealed, aad=variable_aad(environment_id, name)).decode()


def variable_aad(environment_id: EnvironmentId, name: str) -> bytes:
    """Return what the ciphertext of a row is bound to."""
    return f"perdure/variable/{environment_id}/{name}".encode("utf-8", "surrogatepass")
