"""Whether a failed request may be repeated, and how long to wait before.

The decision is a pure function. A request that can be repeated without harm (an idempotent method,
or a POST with an idempotency key) is repeated for every transient failure. Another one is repeated
when the provider certainly did not carry it out, or when its author said by `retries` or `retry_on`
that repeating is fine. The wait is never shorter than a `Retry-After` of the answer and never
longer than a day.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from pydantic import JsonValue

from perdure.providers.provider import Provider
from perdure.providers.proxy import RetryInBody
from perdure.proxy.json_path import lookup
from perdure.proxy.requests import HttpRequest

__all__ = [
    "MAX_WAIT_S",
    "NetworkFailure",
    "Outcome",
    "RetryDecision",
    "RetryReason",
    "decide",
    "may_be_repeated",
    "retry_after",
]

MAX_WAIT_S = 86_400.0
"""Longest wait in seconds; whoever asks for more is asked again after a day."""

_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_MILLISECONDS_FROM = 100_000_000_000
"""Epoch values from here on are milliseconds: as seconds they would lie in the year 5138."""

_SEARCHED_TEXT = 4096


class NetworkFailure(StrEnum):
    """Why there was no complete answer."""

    NOT_CONNECTED = "not_connected"
    """No connection came about, so nothing was sent."""

    INTERRUPTED = "interrupted"
    """The connection broke or time ran out; the provider may have carried the request out."""

    UNKNOWN_HOST = "unknown_host"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    TOO_LARGE = "too_large"
    BAD_REDIRECT = "bad_redirect"
    TOO_MANY_REDIRECTS = "too_many_redirects"


class RetryReason(StrEnum):
    """What decided."""

    ASKED_FOR = "asked_for"
    """The author named the status in `retry_on`."""

    RATE_LIMITED = "rate_limited"
    LISTED_BY_PROVIDER = "listed_by_provider"
    TRANSIENT = "transient"
    NOT_SENT = "not_sent"
    RETRIES_OFF = "retries_off"
    """The author set `retries` to 0."""

    NOT_REPEATABLE = "not_repeatable"
    """It would be transient, but the provider may have carried the request out already."""

    LASTING = "lasting"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: with an answer that is not 2xx, or without one.

    Attributes:
        status: Status of the answer, None without one.
        headers: Headers with lower-case names.
        body: Decoded body.
        failure: Why there was no answer, None with one.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: JsonValue = None
    failure: NetworkFailure | None = None


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What to do about a failed request.

    Attributes:
        retry: Whether it may be repeated.
        delay: Seconds to wait; None leaves it to the exponential back-off of the caller's policy.
        reason: What decided.
    """

    retry: bool
    delay: float | None
    reason: RetryReason


def decide(
    outcome: Outcome, request: HttpRequest, provider: Provider, *, now: datetime
) -> RetryDecision:
    """Decide whether a failed request may be repeated, and when.

    Args:
        outcome: How it ended.
        request: Its method, `retries`, `retry_on` and `retry_header` count.
        provider: Its `proxy.retry` counts.
        now: The present moment, aware.
    """
    if request.retries == 0:
        return RetryDecision(retry=False, delay=None, reason=RetryReason.RETRIES_OFF)
    if outcome.status is None:
        retry, reason = _after_no_answer(outcome.failure, request, provider)
        return RetryDecision(retry=retry, delay=None, reason=reason)
    delay = _wait(outcome, request, provider, now)
    retry, reason = _after_answer(outcome.status, outcome.headers, request, provider)
    return RetryDecision(retry=retry, delay=delay if retry else None, reason=reason)


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks to wait, None where there is none.

    Args:
        headers: Headers with lower-case names.
        now: The present moment, aware.
    """
    seconds = _after(headers.get("retry-after"), now)
    return None if seconds is None else min(seconds, MAX_WAIT_S)


def _after_no_answer(
    failure: NetworkFailure | None, request: HttpRequest, provider: Provider
) -> tuple[bool, RetryReason]:
    match failure:
        case NetworkFailure.NOT_CONNECTED:
            return True, RetryReason.NOT_SENT
        case NetworkFailure.INTERRUPTED:
            if may_be_repeated(request, provider):
                return True, RetryReason.TRANSIENT
            return False, RetryReason.NOT_REPEATABLE
        case _:
            return False, RetryReason.LASTING


def _after_answer(
    status: int, headers: Mapping[str, str], request: HttpRequest, provider: Provider
) -> tuple[bool, RetryReason]:
    retry = provider.proxy.retry
    if status in request.retry_on:
        return True, RetryReason.ASKED_FOR
    if status == 401:
        # Only other credentials can help; the connection's refresh sees to that.
        return False, RetryReason.LASTING
    exhausted = status >= 400 and _remaining(headers, retry.remaining) == 0
    listed = retry.lists(status)
    refused_for_now = exhausted or "retry-after" in headers
    if status == 429 or (refused_for_now and 400 <= status < 500 and status != 408):
        return True, RetryReason.RATE_LIMITED
    if not (exhausted or listed or status in _TRANSIENT_STATUSES or status >= 500):
        return False, RetryReason.LASTING
    reason = RetryReason.LISTED_BY_PROVIDER if listed else RetryReason.TRANSIENT
    if may_be_repeated(request, provider):
        return True, reason
    # A 4xx of the provider's own list is a refusal, and so is a 503 that names a time. A 408 may
    # come from a proxy while the server goes on working.
    refused = (listed and status < 500 and status != 408) or (
        status == 503 and "retry-after" in headers
    )
    return (True, reason) if refused else (False, RetryReason.NOT_REPEATABLE)


def may_be_repeated(request: HttpRequest, provider: Provider) -> bool:
    """Say whether a request may be made again when nobody knows what became of it."""
    has_key = request.idempotency_key is not None and provider.proxy.idempotency_header is not None
    return (
        request.method in _IDEMPOTENT_METHODS
        or has_key
        or bool(request.retries)
        or bool(request.retry_on)
    )


def _wait(
    outcome: Outcome, request: HttpRequest, provider: Provider, now: datetime
) -> float | None:
    retry = provider.proxy.retry
    own = request.retry_header
    # Many providers send the reset moment with every answer; it is a reason to wait only when
    # nothing is left until then.
    at = () if (_remaining(outcome.headers, retry.remaining) or 0) > 0 else retry.at
    wait = None
    if own is not None:
        wait = _longest(outcome.headers, own.at, own.after, now)
    if wait is None:
        wait = _longest(outcome.headers, at, retry.after, now)
    if wait is None and retry.in_body is not None:
        wait = _in_body(outcome.body, retry.in_body, now)
    standard = _after(outcome.headers.get("retry-after"), now)
    found = [seconds for seconds in (wait, standard) if seconds is not None]
    return min(max(found), MAX_WAIT_S) if found else None


def _longest(
    headers: Mapping[str, str], at: Iterable[str], after: Iterable[str], now: datetime
) -> float | None:
    waits = [_at(headers.get(name), now) for name in at]
    waits += [_after(headers.get(name), now) for name in after]
    return max((wait for wait in waits if wait is not None), default=None)


def _in_body(body: JsonValue, rule: RetryInBody, now: datetime) -> float | None:
    value = lookup(body, rule.path)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    found = re.search(rule.value, str(value)[:_SEARCHED_TEXT])
    if found is None:
        return None
    text = found.group(1) if found.re.groups else found.group()
    return _at(text, now) if rule.strategy == "at" else _after(text, now)


def _at(text: str | None, now: datetime) -> float | None:
    """Return the seconds until a moment that lies ahead."""
    if text is None:
        return None
    number = _number(text)
    if number is None:
        moment = _date(text)
        return None if moment is None else _ahead((moment - now).total_seconds())
    seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
    return _ahead(seconds - now.timestamp())


def _after(text: str | None, now: datetime) -> float | None:
    """Return the seconds of a header like `Retry-After`, which may also be a date."""
    if text is None:
        return None
    number = _number(text)
    return _at(text, now) if number is None else _ahead(number)


def _ahead(seconds: float) -> float | None:
    return seconds if seconds > 0 else None


def _remaining(headers: Mapping[str, str], name: str | None) -> float | None:
    return None if name is None else _number(headers.get(name, ""))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text.strip())
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None
