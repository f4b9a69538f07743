"""Where the reads that save past the script are.

The row of a read moves in the transaction that writes a page's records, so both are there or
neither is. It belongs to the attempt that claimed it last: an older one that lives on, since
nobody heard of it any more, can neither move it nor commit what it wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.record_batches import CursorMove, ModelCounts
from perdure.db.refusals import attempt_superseded, run_ended

__all__ = ["Claim", "CursorKey", "RunCursor", "RunCursorStore", "SavedSoFar", "cursor_aad"]

# Attempts are ordered by when they were given out, on Temporal's clock. Another read than the one
# that left the row begins at its first page.
_CLAIM = """
INSERT INTO run_cursors AS c (run_id, workflow_id, number, asked, claimed_at, attempt)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (run_id, workflow_id, number) DO UPDATE
   SET claimed_at = excluded.claimed_at,
       attempt    = excluded.attempt,
       tries      = c.tries + 1,
       asked      = excluded.asked,
       state      = CASE WHEN c.asked = excluded.asked THEN c.state END,
       done       = c.done AND c.asked = excluded.asked,
       pages      = CASE WHEN c.asked = excluded.asked THEN c.pages ELSE 0 END,
       added      = CASE WHEN c.asked = excluded.asked THEN c.added ELSE 0 END,
       updated    = CASE WHEN c.asked = excluded.asked THEN c.updated ELSE 0 END,
       deleted    = CASE WHEN c.asked = excluded.asked THEN c.deleted ELSE 0 END,
       unchanged  = CASE WHEN c.asked = excluded.asked THEN c.unchanged ELSE 0 END
 WHERE (c.claimed_at, c.attempt) <= (excluded.claimed_at, excluded.attempt)
RETURNING state, done, pages, tries, added, updated, deleted, unchanged
"""

# The cursor and the run's counts, in one round trip.
_ADVANCE = """
WITH moved AS (
    UPDATE run_cursors
       SET state = $6, done = $6::bytea IS NULL, pages = pages + 1, tries = 0,
           added = added + $8, updated = updated + $9,
           deleted = deleted + $10, unchanged = unchanged + $11
     WHERE run_id = $1 AND workflow_id = $2 AND number = $3
       AND claimed_at = $4 AND attempt = $5
    RETURNING state, done, pages, tries, added, updated, deleted, unchanged
), counted AS (
    UPDATE runs
       SET counts = counts_with(counts, $7, $8, $9, $10, $11)
     WHERE id = $1 AND finished_at IS NULL
    RETURNING id
)
SELECT moved.*, EXISTS (SELECT FROM counted) AS run_goes_on FROM moved
"""

# One statement, since a page moves both: a page that is told of is counted.
_SAVED = """
SELECT coalesce(c.pages, 0) AS pages, r.counts
  FROM runs r
  LEFT JOIN run_cursors c ON c.run_id = r.id AND c.workflow_id = $2 AND c.number = $3
 WHERE r.id = $1
"""


@dataclass(frozen=True, slots=True)
class CursorKey:
    """Which read.

    Attributes:
        run_id: The run.
        workflow_id: Its workflow, or that of one of its items.
        number: Number of the read in the workflow, counted from 1.
    """

    run_id: str
    workflow_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Which attempt of a step; later ones are greater.

    Attributes:
        at: When Temporal gave the attempt out.
        attempt: Its number within the step.
    """

    at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class RunCursor:
    """How far a read is.

    Attributes:
        state: Where the next page begins, None before the first and after the last.
        done: Whether all pages are saved.
        pages: How many are.
        tries: How many attempts have begun since the last page, the present one included.
        counts: What became of their records.
    """

    state: bytes | None
    done: bool
    pages: int
    tries: int
    counts: ModelCounts


@dataclass(frozen=True, slots=True)
class SavedSoFar:
    """What a run has saved.

    Attributes:
        pages: How many pages of one of its reads.
        counts: What it did to records, by model; those pages are counted.
    """

    pages: int
    counts: dict[str, ModelCounts]


class RunCursorStore:
    """Keeps cursors; where the next page begins is encrypted, since it may be a secret.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts states, bound to their read.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    async def claim(self, key: CursorKey, claim: Claim, *, asked: str) -> RunCursor:
        """Take a read over and return how far it is. It waits for a page that is being saved.

        Args:
            key: The read.
            claim: The attempt that does it from now on.
            asked: Fingerprint of the read. What another one left under the key is forgotten.

        Raises:
            UnavailableError: `attempt_superseded`, a newer attempt has it.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(
                _CLAIM,
                key.run_id,
                key.workflow_id,
                key.number,
                asked,
                claim.at,
                claim.attempt,
            )
        if row is None:
            raise attempt_superseded()
        return self._cursor(key, row)

    async def saved(self, key: CursorKey) -> SavedSoFar | None:
        """Return what a run has saved at this moment, None where the run is not kept any more.

        Args:
            key: Whose pages to tell of; there are 0 where nobody has claimed it.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_SAVED, key.run_id, key.workflow_id, key.number)
        return None if row is None else SavedSoFar(row["pages"], row["counts"])

    def move(self, key: CursorKey, claim: Claim, *, state: bytes | None) -> CursorMove:
        """Return what moves a read behind a page in the statement that saves the page.

        Args:
            key: The read.
            claim: The attempt that saves the page.
            state: Where the next page begins, None after the last.
        """
        return CursorMove(
            key.workflow_id, key.number, claim.at, claim.attempt, self._sealed(key, state)
        )

    async def advance(
        self,
        key: CursorKey,
        claim: Claim,
        *,
        state: bytes | None,
        model: str,
        counts: ModelCounts,
        conn: DbConnection,
    ) -> RunCursor:
        """Move a read behind a page whose records this transaction writes, and count them.

        Args:
            key: The read.
            claim: The attempt that saves the page.
            state: Where the next page begins, None after the last.
            model: Model of the records.
            counts: What became of the page's records.
            conn: Connection whose transaction this joins: the one that writes them.

        Raises:
            UnavailableError: `attempt_superseded`, a newer attempt has the read.
            ConflictError: `run_ended`.
        """
        row = await conn.fetchrow(
            _ADVANCE,
            key.run_id,
            key.workflow_id,
            key.number,
            claim.at,
            claim.attempt,
            self._sealed(key, state),
            model,
            counts["added"],
            counts["updated"],
            counts["deleted"],
            counts["unchanged"],
        )
        if row is None:
            raise attempt_superseded()
        if not row["run_goes_on"]:
            raise run_ended(key.run_id)
        return self._cursor(key, row)

    def _sealed(self, key: CursorKey, state: bytes | None) -> bytes | None:
        return None if state is None else self._keyring.encrypt(state, aad=cursor_aad(key))

    def _cursor(self, key: CursorKey, row: asyncpg.Record) -> RunCursor:
        state = row["state"]
        if state is not None:
            state = self._keyring.decrypt(state, aad=cursor_aad(key))
        counts = ModelCounts(
            added=row["added"],
            updated=row["updated"],
            deleted=row["deleted"],
            unchanged=row["unchanged"],
        )
        return RunCursor(state, row["done"], row["pages"], row["tries"], counts)


def cursor_aad(key: CursorKey) -> bytes:
    """Return what a ciphertext belongs to."""
    return f"perdure/run-cursor/{key.run_id}/{key.workflow_id}/{key.number}".encode()
