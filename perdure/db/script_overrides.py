"""Scripts that retried runs execute instead of those in their histories."""

from __future__ import annotations

from perdure.db.pool import Pool, borrowed
from perdure.ids import EnvironmentId

__all__ = ["ScriptOverrideStore"]

_GET = "SELECT payload FROM script_overrides WHERE workflow_id = $1"

_PUT = """
INSERT INTO script_overrides (workflow_id, environment_id, payload) VALUES ($1, $2, $3)
ON CONFLICT (workflow_id) DO UPDATE SET payload = excluded.payload
"""

_DELETE = "DELETE FROM script_overrides WHERE workflow_id = $1"


class ScriptOverrideStore:
    """Keeps one payload a workflow; see `perdure.temporal.script_override`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def script_override(self, workflow_id: str) -> bytes | None:
        """Return the payload that a workflow is to be given, None for its own.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        async with borrowed(self._pool) as conn:
            payload: bytes | None = await conn.fetchval(_GET, workflow_id)
        return payload

    async def set(
        self, environment_id: EnvironmentId, workflow_id: str, payload: bytes | None
    ) -> None:
        """Give a workflow another script; None gives it back its own.

        Raises:
            UnavailableError: Nothing has changed.
        """
        async with borrowed(self._pool) as conn:
            if payload is None:
                await conn.execute(_DELETE, workflow_id)
            else:
                await conn.execute(_PUT, workflow_id, environment_id, payload)
