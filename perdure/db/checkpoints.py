"""Checkpoints of scripts: small flat objects that say where the next run goes on.

Every write carries the version that its writer saw last, so that of two runs that go on from one
checkpoint only one moves it. A step of a run may be repeated after its answer was lost; the row
remembers who wrote it, and such a step does not conflict with itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.errors import ConflictError
from perdure.ids import BASE_VARIANT, ConnectionKey
from perdure.records.canonical import to_json

__all__ = ["Checkpoint", "CheckpointStore", "CheckpointValue", "Writer", "checkpoint_key"]

CheckpointValue: TypeAlias = Mapping[str, str | int | float | bool]
"""A flat object."""

_GET = "SELECT value, version, run_id FROM checkpoints WHERE connection_key = $1 AND key = $2"

# Another step of the same run may write over what it has not seen, if it was asked for later: a
# run that is retried goes back to a step before its own last checkpoint. One that was asked for
# earlier is a stray attempt that must not move the checkpoint back.
_PUT = """
INSERT INTO checkpoints AS c (connection_key, key, value, run_id, step_id)
VALUES ($1, $2, $3, $5, $6)
ON CONFLICT (connection_key, key) DO UPDATE
   SET value = $3, version = c.version + 1, run_id = $5, step_id = $6,
       updated_at = clock_timestamp()
 WHERE c.version = $4
    OR (c.run_id IS DISTINCT FROM $5 AND $4::bigint IS NULL)
    OR (c.run_id = $5 AND (c.step_id = $6 OR c.updated_at < $7))
RETURNING version
"""

_NOTE = """
UPDATE runs
   SET checkpoints = json_build_object(
       'from', coalesce(checkpoints -> 'from', $2::json), 'to', $3::json)
 WHERE id = $1
"""

_RESET = """
UPDATE checkpoints
   SET value = NULL, version = version + 1, run_id = NULL, step_id = NULL,
       updated_at = clock_timestamp()
 WHERE connection_key = $1 AND key = ANY ($2::text[]) AND value IS NOT NULL
"""

_DELETE = "DELETE FROM checkpoints WHERE connection_key = $1 AND key = ANY ($2::text[])"

_MOVE = """
INSERT INTO checkpoints AS c (connection_key, key, value, run_id, step_id)
SELECT connection_key, $3, value, run_id, step_id
  FROM checkpoints
 WHERE connection_key = $1 AND key = $2 AND value IS NOT NULL
ON CONFLICT (connection_key, key) DO UPDATE
   SET value = excluded.value, version = c.version + 1, run_id = excluded.run_id,
       step_id = excluded.step_id, updated_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as it stands.

    Attributes:
        value: The object, None where there is none or it was cleared.
        version: Grows with every write; 0 where there never was one.
        run_id: The run that wrote last, None where somebody outside did.
    """

    value: CheckpointValue | None
    version: int
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes.

    Attributes:
        run_id: The run.
        step_id: Its step, the same for every attempt of it.
        asked_at: When the step was asked for.
    """

    run_id: str
    step_id: str
    asked_at: datetime


def checkpoint_key(kind: str, script: str, variant: str = BASE_VARIANT) -> str:
    """Return the key of a script's checkpoint: `<kind>:<script>[:<variant>]`."""
    return f"{kind}:{script}" if variant == BASE_VARIANT else f"{kind}:{script}:{variant}"


class CheckpointStore:
    """Keeps the checkpoints of connections."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(
        self, connection: ConnectionKey, key: str, *, conn: DbConnection | None = None
    ) -> Checkpoint:
        """Return a checkpoint; one that never was has version 0."""
        async with borrowed(self._pool, conn) as borrowed_conn:
            row = await borrowed_conn.fetchrow(_GET, connection, key)
        if row is None:
            return Checkpoint(None, 0)
        value = row["value"]
        decoded = None if value is None else json.loads(value)
        return Checkpoint(decoded, row["version"], row["run_id"])

    async def put(
        self,
        connection: ConnectionKey,
        key: str,
        value: CheckpointValue | None,
        *,
        expected: int | None,
        writer: Writer,
        conn: DbConnection | None = None,
    ) -> int:
        """Replace a checkpoint, or clear it.

        Args:
            connection: Whose it is.
            key: See `checkpoint_key`.
            value: The new one, None to clear it.
            expected: Version that the writer saw last; None where it never looked.
            writer: Who writes. Repeating a step is no conflict.
            conn: Connection whose transaction this joins.

        Returns:
            The new version.

        Raises:
            ConflictError: `checkpoint_conflict`, somebody else wrote it meanwhile.
        """
        async with borrowed(self._pool, conn) as borrowed_conn:
            version: int | None = await borrowed_conn.fetchval(
                _PUT,
                connection,
                key,
                None if value is None else to_json(dict(value)),
                expected,
                writer.run_id,
                writer.step_id,
                writer.asked_at,
            )
        if version is None:
            msg = (
                f"The checkpoint {key!r} was changed by another run after this one read it; "
                "the next run goes on from there."
            )
            raise ConflictError(msg, code="checkpoint_conflict")
        return version

    async def note(
        self,
        run_id: str,
        found: CheckpointValue | None,
        left: CheckpointValue | None,
        *,
        conn: DbConnection | None = None,
    ) -> None:
        """Note on a run which checkpoint it found, the first time, and which one it leaves.

        Args:
            run_id: Which run.
            found: The checkpoint before the run wrote its own.
            left: The checkpoint now.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as borrowed_conn:
            await borrowed_conn.execute(
                _NOTE, run_id, to_json(found and dict(found)), to_json(left and dict(left))
            )

    async def reset(
        self, connection: ConnectionKey, *keys: str, conn: DbConnection | None = None
    ) -> None:
        """Clear checkpoints from outside; a run that is under way can no longer move them."""
        async with borrowed(self._pool, conn) as borrowed_conn:
            await borrowed_conn.execute(_RESET, connection, keys)

    async def delete(self, connection: ConnectionKey, *keys: str) -> None:
        """Delete checkpoints, versions and all, with the scripts that they belong to."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_DELETE, connection, keys)

    async def move(
        self, connection: ConnectionKey, key: str, to: str, *, conn: DbConnection
    ) -> None:
        """Put a checkpoint in the place of another one; done again, it does nothing.

        Args:
            connection: Whose they are.
            key: The one that is cleared.
            to: The one that takes its value.
            conn: Connection of the transaction.
        """
        await conn.execute(_MOVE, connection, key, to)
        await conn.execute(_RESET, connection, [key])
