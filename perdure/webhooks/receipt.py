"""What a receiver's answer to a webhook means: taken, to be sent again, or refused for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from perdure.proxy.exchange import NetworkError
from perdure.proxy.retry import NetworkFailure, retry_after

__all__ = ["Receipt", "answered", "unanswered"]

_TRANSIENT_STATUSES = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one attempt.

    Attributes:
        verdict: What follows from it.
        status: Status of the answer, None where there was none.
        error: What was wrong, None where the receiver took it.
        delay: Seconds the receiver asks to wait, None where it did not say.
    """

    verdict: Literal["delivered", "retry", "refused"]
    status: int | None = None
    error: str | None = None
    delay: float | None = None


def answered(status: int, headers: Mapping[str, str], *, now: datetime) -> Receipt:
    """Judge an answer: 2xx takes the webhook; 5xx, 408, 425 and 429 ask for another attempt.

    Args:
        status: Its status. A redirect was not followed.
        headers: Its headers with lower-case names.
        now: The present moment, aware.
    """
    if 200 <= status < 300:
        return Receipt("delivered", status)
    if status >= 500 or status in _TRANSIENT_STATUSES:
        delay = retry_after(headers, now=now)
        return Receipt("retry", status, f"the receiver answered {status}", delay)
    redirects = " with a redirect, which is not followed" if 300 <= status < 400 else ""
    return Receipt("refused", status, f"the receiver answered {status}{redirects}")


def unanswered(error: NetworkError) -> Receipt:
    """Judge an attempt without an answer: all but one too large to be read is worth another."""
    refused = error.failure is NetworkFailure.TOO_LARGE
    return Receipt("refused" if refused else "retry", error=str(error))
