"""How many requests a key may make in a minute.

Each API process counts for itself: a count that all of them share would cost every request a write
to Postgres. With `n` processes behind a load balancer a key gets through up to `n` times the limit.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["RateLimit", "Usage"]

_WINDOW_SECONDS = 60
_REMEMBERED_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class Usage:
    """How a key stands after a request.

    Attributes:
        limit: How many requests it has in a minute.
        remaining: How many of them are left.
        reset_at: When the minute is over, in seconds since 1970.
        exceeded: Whether this request is one too many.
    """

    limit: int
    remaining: int
    reset_at: int
    exceeded: bool

    @property
    def headers(self) -> dict[str, str]:
        """Headers that say so to the caller."""
        headers = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": str(self.reset_at),
        }
        if self.exceeded:
            headers["retry-after"] = str(max(1, math.ceil(self.reset_at - time.time())))
        return headers


class RateLimit:
    """Counts requests by key, in minutes that begin with a key's first request.

    Args:
        limit: Requests a minute.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: OrderedDict[bytes, list[int]] = OrderedDict()

    def count(self, bucket: bytes) -> Usage:
        """Count a request of a key."""
        now = time.time()
        counted = self._counts.get(bucket)
        if counted is None or counted[1] <= now:
            counted = [0, math.ceil(now) + _WINDOW_SECONDS]
            self._counts[bucket] = counted
            self._counts.move_to_end(bucket)
            if len(self._counts) > _REMEMBERED_KEYS:
                self._counts.popitem(last=False)
        counted[0] += 1
        used, reset_at = counted
        return Usage(
            limit=self._limit,
            remaining=max(0, self._limit - used),
            reset_at=reset_at,
            exceeded=used > self._limit,
        )
