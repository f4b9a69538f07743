"""The count of requests."""

from __future__ import annotations

import time

import pytest

from api.rate_limit import RateLimit


def test_the_request_after_the_last_one_is_too_many() -> None:
    limit = RateLimit(2)

    first, second, third = (limit.count(b"key") for _ in range(3))

    assert [first.remaining, second.remaining, third.remaining] == [1, 0, 0]
    assert [first.exceeded, second.exceeded, third.exceeded] == [False, False, True]
    assert "retry-after" not in second.headers
    assert 1 <= int(third.headers["retry-after"]) <= 61
    assert third.headers["x-ratelimit-limit"] == "2"
    assert third.headers["x-ratelimit-remaining"] == "0"
    assert abs(int(third.headers["x-ratelimit-reset"]) - time.time()) <= 62


def test_keys_are_counted_apart() -> None:
    limit = RateLimit(1)
    limit.count(b"one")

    assert limit.count(b"one").exceeded
    assert not limit.count(b"other").exceeded


def test_the_next_minute_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RateLimit(1)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    assert [limit.count(b"key").exceeded for _ in range(2)] == [False, True]

    monkeypatch.setattr(time, "time", lambda: now + 61)

    assert not limit.count(b"key").exceeded
