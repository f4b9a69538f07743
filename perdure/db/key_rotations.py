"""Encrypts what stands in the database anew with the first key of the ring, a few rows at a time.

Rows are locked while they are encrypted anew, for some milliseconds: whoever writes one meanwhile
writes it afterwards. How far a rotation is stands in the transaction of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import structlog

from perdure.crypto.keyring import DecryptionError, KeyRing
from perdure.db.encrypted_columns import ENCRYPTED_COLUMNS, EncryptedColumn
from perdure.db.pool import Pool, borrowed

__all__ = ["KeyRotation", "KeyRotationStore", "RotatedRows"]

_BEGIN = """
INSERT INTO key_rotations (run_id, key_id) VALUES ($1, $2)
ON CONFLICT (run_id) DO UPDATE SET key_id = excluded.key_id
RETURNING id
"""

_PROGRESS = "UPDATE key_rotations SET doing = $2, rewritten = rewritten + $3 WHERE id = $1"

_FINISH = """
UPDATE key_rotations SET doing = '', finished_at = coalesce(finished_at, now()) WHERE id = $1
"""

_LATEST = """
SELECT id, run_id, key_id, started_at, finished_at, doing, rewritten
  FROM key_rotations
 ORDER BY id DESC
 LIMIT 1
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """One time that everything was encrypted anew.

    Attributes:
        id: Row id.
        run_id: Its run id at Temporal.
        key_id: The key that everything was encrypted with.
        started_at: When it began.
        finished_at: When it ended, None while it goes on.
        doing: What it is at, such as `connections.credentials`.
        rewritten: How many values it has encrypted anew.
    """

    id: int
    run_id: str
    key_id: str
    started_at: datetime
    finished_at: datetime | None
    doing: str
    rewritten: int


@dataclass(frozen=True, slots=True)
class RotatedRows:
    """What became of a few rows.

    Attributes:
        after: Key of the last of them, None where there are no more.
        rewritten: How many were encrypted anew; those that no key of the ring reads stay.
    """

    after: tuple[Any, ...] | None
    rewritten: int


class KeyRotationStore:
    """Encrypts anew.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Its first key encrypts.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    @property
    def keyring(self) -> KeyRing:
        """The ring that this process has."""
        return self._keyring

    async def begin(self, run_id: str) -> int:
        """Note that a rotation begins, and return its row id."""
        async with borrowed(self._pool) as conn:
            rotation: int = await conn.fetchval(_BEGIN, run_id, self._keyring.primary)
        return rotation

    async def rotate_rows(
        self,
        rotation: int,
        name: str,
        after: Sequence[Any] | None,
        *,
        limit: int,
        payload: Callable[[KeyRing, bytes], bytes],
    ) -> RotatedRows:
        """Encrypt some rows of a column anew.

        Args:
            rotation: Row id.
            name: Of `ENCRYPTED_COLUMNS`.
            after: Where the rows before ended, None for the first ones.
            limit: Most rows.
            payload: Encrypts a serialized Temporal payload anew.
        """
        column = ENCRYPTED_COLUMNS[name]
        place = column.first if after is None else tuple(after)
        async with borrowed(self._pool) as conn, conn.transaction():
            rows = await conn.fetch(column.select, *place, self._keyring.primary, limit)
            changed = [
                (sealed, *(row[part] for part in column.key))
                for row in rows
                if (sealed := self._rewrapped(name, column, row, payload)) is not None
            ]
            if changed:
                await conn.execute(
                    column.update, *(list(part) for part in zip(*changed, strict=True))
                )
            await conn.execute(_PROGRESS, rotation, name, len(changed))
        full = len(rows) == limit
        last = tuple(rows[-1][part] for part in column.key) if full else None
        return RotatedRows(after=last, rewritten=len(changed))

    async def note(self, rotation: int, doing: str, rewritten: int) -> None:
        """Note what a rotation does outside of the database, and how many values it rewrote."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_PROGRESS, rotation, doing, rewritten)

    async def finish(self, rotation: int) -> None:
        """Note that a rotation is done."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_FINISH, rotation)

    async def latest(self) -> KeyRotation | None:
        """Return the last rotation, None where there was none."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_LATEST)
        return None if row is None else KeyRotation(*row.values())

    async def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Count the values of each column by the id of the key they are encrypted with."""
        found: dict[str, Counter[str]] = {}
        async with borrowed(self._pool) as conn:
            for name, column in ENCRYPTED_COLUMNS.items():
                rows = await conn.fetch(column.counts)
                found[name] = Counter({row["key_id"]: row["count"] for row in rows})
        return found

    def _rewrapped(
        self,
        name: str,
        column: EncryptedColumn,
        row: asyncpg.Record,
        payload: Callable[[KeyRing, bytes], bytes],
    ) -> bytes | None:
        try:
            if column.rewrap is None:
                return payload(self._keyring, row["sealed"])
            return column.rewrap(self._keyring, row)
        except DecryptionError as error:
            # It was lost before, and goes on being counted under its key.
            log.warning("value_not_rewritten", column=name, code=error.code)
            return None
