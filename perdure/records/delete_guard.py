"""Whether a deletion looks so much like a mistake that somebody has to confirm it."""

from __future__ import annotations

__all__ = ["SMALL_MODEL", "must_be_confirmed"]

SMALL_MODEL = 100
"""Up to so many records, any share of them may go."""


def must_be_confirmed(*, live: int, absent: int, saw_any: bool, share: float | None) -> bool:
    """Say whether the records that a sync did not see must stay until somebody confirms it.

    Args:
        live: How many records are there.
        absent: How many of them would be deleted.
        saw_any: Whether the sync saved any record at all; an answer that is empty by mistake is
            the commonest way to lose everything.
        share: Share of the records that may go, None for no such limit.
    """
    if share is None or absent == 0:
        return False
    if not saw_any:
        return True
    return live > SMALL_MODEL and absent > share * live
