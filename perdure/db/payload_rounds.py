"""How far the rounds are that look through runs for the payloads which they name.

A round goes through more runs than one step has time for, and goes on where the last step was. See
`activities.payload_sweep`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perdure.db.pool import Pool, borrowed

__all__ = ["PayloadRound", "PayloadRoundStore"]

_GET = "SELECT began, until FROM payload_rounds WHERE lasting = $1"

_NOTE = """
INSERT INTO payload_rounds (lasting, began, until) VALUES ($1, $2, $3)
ON CONFLICT (lasting) DO UPDATE SET began = excluded.began, until = excluded.until
"""

_END = "DELETE FROM payload_rounds WHERE lasting = $1"


@dataclass(frozen=True, slots=True)
class PayloadRound:
    """A round that is under way.

    Attributes:
        began: It looks through runs that began before this moment.
        until: Those of them that began since this moment it has looked through.
    """

    began: datetime
    until: datetime


class PayloadRoundStore:
    """Keeps places of rounds, one for lasting payloads and one for all others."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, *, lasting: bool) -> PayloadRound | None:
        """Return the round that is under way, None where none is.

        Args:
            lasting: For which payloads.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_GET, lasting)
        return None if row is None else PayloadRound(row["began"], row["until"])

    async def note(self, round_: PayloadRound, *, lasting: bool) -> None:
        """Note where a round is.

        Args:
            round_: The round.
            lasting: For which payloads.
        """
        async with borrowed(self._pool) as conn:
            await conn.execute(_NOTE, lasting, round_.began, round_.until)

    async def end(self, *, lasting: bool) -> None:
        """Note that no round is under way.

        Args:
            lasting: For which payloads.
        """
        async with borrowed(self._pool) as conn:
            await conn.execute(_END, lasting)
