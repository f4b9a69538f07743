"""Values that this process has in memory already, for whoever would decode them from their JSON.

A step that fetches pages decodes them, and writes them as JSON for the history; the script on the
same worker would decode that a moment later. What a step leaves here is the same value, and is
taken once, so that nobody shares it with whom it is handed to. A run that goes on elsewhere, or is
replayed, finds nothing here and decodes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

__all__ = ["ValuesAtHand"]

_MOST_BYTES = 8 * 1024 * 1024


class ValuesAtHand:
    """Values by their JSON, the latest of them.

    Threads may share it.

    Args:
        most_bytes: How much JSON they have at most, together; as objects they take several times
            as much.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._values: OrderedDict[bytes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def leave(self, data: bytes, value: Any) -> None:
        """Leave what decoding JSON gives; whoever leaves it may not change it any more."""
        if len(data) > self._most_bytes:
            return
        with self._lock:
            self._drop(data)
            self._values[data] = value
            self._bytes += len(data)
            while self._bytes > self._most_bytes and self._values:
                self._drop(next(iter(self._values)))

    def take(self, data: bytes) -> Any:
        """Return what was left for JSON, for the caller to keep; None where nothing was."""
        with self._lock:
            value = self._values.get(data)
            self._drop(data)
        return value

    def _drop(self, data: bytes) -> None:
        # The count first: whoever computes for too long is interrupted anywhere.
        if data in self._values:
            self._bytes -= len(data)
            del self._values[data]
