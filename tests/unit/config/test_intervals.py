"""The grammar of `runs`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.intervals import Interval, IntervalError, parse_runs

HOUR = 3_600
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("every half day", 12 * HOUR),
        ("every half hour", 1_800),
        ("every quarter hour", 900),
        ("every hour", HOUR),
        ("every day", DAY),
        ("every week", 7 * DAY),
        ("every month", 30 * DAY),
        ("every 30s", 30),
        ("every 5m", 300),
        ("every 30min", 1_800),
        ("every 1.5 hours", 5_400),
        ("every .5h", 1_800),
        ("every 2 days", 2 * DAY),
        ("every 2 Weeks", 14 * DAY),
        ("every 1y", 365.25 * DAY),
        ("every 45000", 45),
        ("every 30000 msecs", 30),
        # What clients send when they change the frequency of one connection.
        ("1h", HOUR),
        ("5 minutes", 300),
        ("hour", HOUR),
        ("every minute", 60),
        ("half day", 12 * HOUR),
        ("month", 30 * DAY),
    ],
)
def test_period_is_read(text: str, seconds: float) -> None:
    assert parse_runs(text) == Interval(seconds=seconds)
    assert parse_runs(text).every == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "every", "every ", "hourly", "every  hour", "every 5 parsecs", "every 1 mo"),
        *("every 0m", "0", "0 * * * *", "every 5m ", " every 5m", "every 5m 3s", "Every hour"),
        *("every \u0665m", "every 1e3m", "every 99999999999y", "every 5" + "0" * 200 + "m"),
        *("cron", "cron 0 6 * *", "cron 60 * * * *", "cron * 24 * * *", "cron * * 0 * *"),
        *("cron * * * 13 *", "cron * * * * 8", "cron 5-1 * * * *", "cron */0 * * * *"),
        *("cron 1,, * * * *", "cron * * * FOO *", "cron * * * * * Nowhere/Land"),
        *("cron * * * * * ../etc/passwd", "cron * * * * * Europe", "cron 1-2-3 * * * *"),
        *("every 1h jitter", "every 1h jitter lots", "jitter 5m"),
    ],
)
def test_text_that_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(IntervalError) as caught:
        parse_runs(text)
    assert caught.value.code == "sync_interval_invalid"


@pytest.mark.parametrize("text", ["every 29s", "every 5s", "every -5m", "every 90", "second"])
def test_period_below_half_a_minute_is_too_short(text: str) -> None:
    with pytest.raises(IntervalError) as caught:
        parse_runs(text)
    assert caught.value.code == "sync_interval_too_short"


def test_cron_has_a_zone() -> None:
    interval = parse_runs("cron: 0 6 * * MON-FRI Europe/Berlin")
    assert interval == Interval(cron="0 6 * * MON-FRI", timezone="Europe/Berlin")
    assert interval.every is None


def test_cron_is_utc_without_a_zone() -> None:
    assert parse_runs("cron */15,59 0-6/2 1 jan,12 0-7").timezone == "UTC"


def test_jitter_goes_with_both_forms() -> None:
    assert parse_runs("every 1h jitter 5m") == Interval(seconds=HOUR, jitter_seconds=300)
    assert parse_runs("cron 0 6 * * * jitter 90s").jitter_seconds == 90


@given(st.integers(1, 10_000), st.sampled_from(["s", " sec", "m", " mins", "h", " hours", " DAYS"]))
def test_every_means_what_it_means_without_every(number: int, unit: str) -> None:
    def outcome(text: str) -> object:
        try:
            return parse_runs(text)
        except IntervalError as error:
            return error.code

    assert outcome(f"every {number}{unit}") == outcome(f"{number}{unit}")


@given(st.text(alphabet="every cron*/-,.0123456789hmdMONjit\n\0é", max_size=40) | st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        interval = parse_runs(text)
    except IntervalError:
        return
    assert (interval.seconds is None) != (interval.cron is None)
    assert interval.seconds is None or interval.seconds >= 30
