"""Our own events of all levels, as they are before the log leaves any of them out."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.testing import capture_logs

__all__ = ["every_event"]


@contextmanager
def every_event() -> Iterator[list[MutableMapping[str, Any]]]:
    """Collect what is logged meanwhile, with what was bound and tracebacks as text."""
    wrapper = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("debug"))
    shown = [structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info]
    try:
        with capture_logs(processors=shown) as events:
            yield events
    finally:
        structlog.configure(wrapper_class=wrapper)
