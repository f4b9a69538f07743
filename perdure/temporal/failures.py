"""Reading failures back: what went wrong, as structured facts for people and programs."""

from __future__ import annotations

from typing import Any

from temporalio import exceptions
from temporalio.exceptions import ApplicationError, FailureError, TimeoutType

__all__ = ["HISTORY_LIMIT", "describe_failure", "leaf_failure"]

HISTORY_LIMIT = "history_limit"
"""Type of the failure of a run whose history got too long."""

_MAX_CAUSES = 20


def leaf_failure(error: BaseException) -> BaseException:
    """Return the innermost cause that says something: the error below Temporal's wrappers."""
    current = error
    for _ in range(_MAX_CAUSES):
        if isinstance(current, ApplicationError):
            return current
        cause = current.cause if isinstance(current, FailureError) else current.__cause__
        if cause is None:
            return current
        current = cause
    return current


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Describe a failure as the API and the run's record show it.

    Returns:
        `type` (the code), `message`, and where known `file`, `line`, `traceback`, `payload`,
        `upstream`.
    """
    leaf = leaf_failure(error)
    if isinstance(leaf, ApplicationError):
        details = leaf.details[0] if leaf.details and isinstance(leaf.details[0], dict) else {}
        return {"type": leaf.type or "server_error", "message": leaf.message, **details}
    if isinstance(leaf, exceptions.TimeoutError):
        kind = TimeoutType(leaf.type).name.lower() if leaf.type is not None else "unknown"
        return {"type": "timeout", "message": f"A step timed out ({kind})"}
    message = leaf.message if isinstance(leaf, FailureError) else str(leaf)
    return {"type": type(leaf).__name__, "message": message}
