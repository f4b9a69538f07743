"""Since when the maintenance has run without a pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from activities.maintenance_schedule import unbroken_since

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("runs", "since"),
    [
        ([], 0),
        ([0, 5, 10, 15, 20], 20),
        ([20, 0, 10, 5, 15], 20),
        ([0, 10, 20], 20),  # each second one was skipped
        ([0, 120, 125, 130], 0),  # nobody was there for two hours
        ([120, 125, 130], 0),  # the first since then is under way and not listed yet
        ([0, 5, 10, 40, 45], 10),
        ([-1, 4, 9], 9),  # a clock that goes behind
    ],
)
def test_a_pause_ends_the_series(runs: list[int], since: int) -> None:
    moments = [NOW - timedelta(minutes=minutes) for minutes in runs]
    assert unbroken_since(NOW, moments) == NOW - timedelta(minutes=since)
