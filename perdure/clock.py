"""Wall-clock time outside workflows; inside them time is `workflow.now()`."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utcnow"]


def utcnow() -> datetime:
    """Return the present moment, aware and in UTC."""
    return datetime.now(UTC)
