"""Keeps all that is logged while tests run, on disk, to be searched at the end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from perdure.observability.logging import configure_logging

__all__ = ["LogTape"]

# Servers that tests run for the product to call, whose lines show what they were asked.
_NOT_OURS = ("werkzeug",)


@dataclass(frozen=True)
class _AsUsual:
    log_level: Literal["info"] = "info"
    log_format: Literal["json"] = "json"


class LogTape:
    """The log of this process as the product writes it, and what tests print.

    Each entry is a line: an event in JSON, or a test, a tab, and what was printed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", encoding="utf-8", errors="surrogateescape")
        self._handler: logging.Handler | None = None

    def start(self) -> None:
        """Have whatever is logged from now on written as a process of the product would."""
        root = logging.getLogger()
        before = list(root.handlers)
        configure_logging(_AsUsual())
        (handler,) = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(self._file)
        handler.addFilter(lambda record: not record.name.startswith(_NOT_OURS))
        root.handlers = [*before, handler]
        logging.captureWarnings(capture=False)
        self._handler = handler

    def write(self, source: str, text: str) -> None:
        """Write what else was said, unless it is of the end of the run, which ends the tape."""
        if self._file.closed:
            return
        escaped = text.replace("\n", "\\n")
        self._file.write(f"{source}\t{escaped}\n")

    def stop(self) -> Path:
        """Stop, and return the file."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
            structlog.reset_defaults()
        self._file.close()
        return self.path
