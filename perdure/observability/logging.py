"""The log of a process: one stream on standard error, one line an event, nothing secret by name.

Our own events come from structlog, those of libraries (Temporal's SDK, uvicorn) from the standard
library; both leave in the same form with the same fields. Values whose field is named like a secret
are masked, at any depth. Tracebacks never show local variables, where secrets would be.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from perdure.observability.tracing import current_trace

__all__ = ["MASK", "LogSettings", "configure_logging", "mask_secrets"]

MASK = "***"
"""Stands in the place of a secret."""

_SECRET = re.compile(
    r"""
      secret | passw(or)?d | authorization | credential | (api|access|encryption|private)[-_ ]?key
    | (token|cookie|pwd|jwt)$
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DEEPEST = 8

# Their "info" is about every single request, or about what our own events say already.
_CHATTY = ("aiohttp", "alembic", "asyncio", "httpcore", "httpx", "uvicorn", "watchfiles")


class LogSettings(Protocol):
    """The settings that the log of a process depends on."""

    @property
    def log_level(self) -> Literal["debug", "info", "warning", "error"]:
        """What is less severe is not written."""

    @property
    def log_format(self) -> Literal["console", "json"]:
        """Lines for people, or one JSON object a line."""


def configure_logging(settings: LogSettings) -> None:
    """Set up the log of this process; the last call wins.

    Args:
        settings: Level and form.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _add_origin,
        mask_secrets,
    ]
    renderers = _renderers(settings.log_format)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    structlog.configure(
        processors=[*shared, _hand_over],
        # By way of the standard library a line took twice as long.
        logger_factory=partial(_OwnLines, handler, renderers),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # uvicorn brings handlers of its own; its lines belong into the same stream.
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    logging.captureWarnings(capture=True)


class _OwnLines:
    """Writes our own events where a handler writes those of libraries.

    As with that, an event that cannot be shown or written fails nobody who logs.

    Args:
        handler: Whose stream it is, and whose lock keeps lines whole.
        renderers: Make a line of an event.
        name: Who logs.
    """

    def __init__(
        self,
        handler: logging.StreamHandler[TextIO],
        renderers: Sequence[Processor],
        name: str = "unnamed",
    ) -> None:
        self._handler = handler
        self._renderers = renderers
        self.name = name

    def _write(self, event: EventDict) -> None:
        line, fault = "", None
        try:
            line = self._line(dict(event))
        except Exception as error:  # noqa: BLE001 - as of a handler
            fault = type(error).__name__
        # Not in there, where the exception that is told of would be that one.
        if fault is not None:
            line = self._line(_plain_part(event) | {"not_shown": fault})
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(line + handler.terminator)
            handler.flush()
        except (OSError, ValueError, RuntimeError):
            pass  # Nobody reads it any more, there is no room, or a signal came amid another line.
        finally:
            handler.release()

    debug = info = warning = error = critical = _write

    def _line(self, event: EventDict) -> str:
        rendered: Any = event
        for render in self._renderers:
            rendered = render(self, "", rendered)
        return str(rendered)


def _plain_part(event: EventDict) -> dict[str, Any]:
    """Return what can be shown of any event."""
    plain = {
        name: value
        for name, value in event.items()
        if name == "exc_info" or isinstance(value, str | int | float | None)
    }
    return {"event": "event", **plain}


def _hand_over(
    _logger: WrappedLogger, _method: str, event: EventDict
) -> tuple[tuple[EventDict], dict[str, Any]]:
    """Give the logger an event as it is; a structlog processor, the last one."""
    return (event,), {}


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask the values of fields that are named like secrets; a structlog processor."""
    return {
        name: value if name in {"event", "exc_info"} else _masked(name, value, 0)
        for name, value in event.items()
    }


def _add_origin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say to which trace a line belongs, and one of a workflow to which run."""
    event.update(current_trace())
    # Of the SDK's core: what its line is about, and which part of it says so.
    entry = event.pop("temporal_log", None)
    if entry is not None:
        event["sdk"] = {"target": entry.target, **entry.fields}
    run = event.get("temporal_workflow")
    if isinstance(run, Mapping):
        for name in ("workflow_id", "run_id"):
            event.setdefault(name, run.get(name))
    return event


def _masked(name: object, value: object, depth: int) -> object:
    if isinstance(name, str) and _SECRET.search(name) and value is not None:
        return MASK
    if depth == _DEEPEST:
        return value if isinstance(value, str | int | float | None) else MASK
    if isinstance(value, Mapping):
        return {key: _masked(key, inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(None, inner, depth + 1) for inner in value]
    return value


def _renderers(form: Literal["console", "json"]) -> list[Processor]:
    if form == "json":
        return [
            structlog.processors.EventRenamer("message"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=False, default=str),
        ]
    # The console renderer's own formatter of tracebacks shows local variables.
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]
