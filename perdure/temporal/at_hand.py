"""What bytes of JSON say, for whoever would decode them in the process that has encoded them.

A step that fetches pages decodes them, and writes them as JSON for the history; the script on the
same worker, to which they come as they are, would decode them a moment later. What a step leaves
here is the same value, and is taken once, so that nobody shares it with whom it is handed to. A run
that goes on elsewhere, or is replayed, has other bytes, finds nothing here and decodes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

__all__ = ["ValuesAtHand"]

_MOST_BYTES = 8 * 1024 * 1024


class ValuesAtHand:
    """Values by the very bytes that they were encoded to, the latest of them.

    Threads may share it.

    Args:
        most_bytes: How much JSON they have at most, together; as objects they take several times
            as much.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        # By their place in memory, which is nobody else's while they are held here: to compare
        # megabytes takes its time.
        self._values: OrderedDict[int, tuple[bytes, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def leave(self, data: bytes, value: Any) -> None:
        """Leave what decoding JSON gives; whoever leaves it may not change it any more."""
        if len(data) > self._most_bytes:
            return
        with self._lock:
            self._drop(id(data))
            self._values[id(data)] = (data, value)
            self._bytes += len(data)
            while self._bytes > self._most_bytes and self._values:
                self._drop(next(iter(self._values)))

    def take(self, data: bytes) -> Any:
        """Return what was left for these bytes, for the caller to keep; None where nothing was."""
        with self._lock:
            _, value = self._values.get(id(data), (data, None))
            self._drop(id(data))
        return value

    def _drop(self, place: int) -> None:
        # The count first: whoever computes for too long is interrupted anywhere.
        if place in self._values:
            self._bytes -= len(self._values[place][0])
            del self._values[place]
