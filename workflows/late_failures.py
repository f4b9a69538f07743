"""Failures that a script hears of later than its run does.

What is written behind may fail while the script is busy with something else. Where
the run goes on when it is retried follows from when it heard of the failure, not from when the
script did.
"""

from __future__ import annotations

from temporalio import workflow

__all__ = ["heard_at", "note_heard"]

_ATTRIBUTE = "_perdure_heard_at"


def note_heard(error: BaseException) -> None:
    """Remember that the run hears of a failure now, unless it has heard of it before."""
    if not hasattr(error, _ATTRIBUTE):
        setattr(error, _ATTRIBUTE, workflow.info().get_current_history_length())


def heard_at(error: BaseException) -> int:
    """Return how long the history was when the run heard of what made a script fail."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        noted = getattr(cause, _ATTRIBUTE, None)
        if isinstance(noted, int):
            return noted
        # Not what was merely handled while something else failed.
        cause = cause.__cause__
    return workflow.info().get_current_history_length()
