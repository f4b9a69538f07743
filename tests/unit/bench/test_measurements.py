"""The figures that the benchmark tells are the right ones."""

from __future__ import annotations

import re

import pytest

from bench.measurements import (
    Group,
    Measurement,
    groups,
    median_of,
    percentile,
    quick_line,
    ratio_to,
)

BARE = Group("bare", 1000, 100, "first")
SAVE = Group("save", 1000, 100, "first")


def measured(group: Group, number: int, seconds: float) -> Measurement:
    return Measurement(
        group=group,
        round=number,
        seconds=seconds,
        client_cpu_s=seconds / 2,
        temporal_cpu_s=0,
        postgres_cpu_s=0,
        source_cpu_s=0,
        peak_rss_mb=0,
        rss_growth_mb=0,
    )


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The third round ran on a machine that was ten times slower, for both.
    found = [
        *(measured(BARE, 0, 1.0), measured(SAVE, 0, 2.0)),
        *(measured(BARE, 1, 1.0), measured(SAVE, 1, 1.0)),
        *(measured(BARE, 2, 10.0), measured(SAVE, 2, 8.0)),
    ]
    assert ratio_to(found, SAVE, BARE) == pytest.approx(1.0)
    assert ratio_to(found[:4], SAVE, BARE) == pytest.approx(0.75)


def test_a_ratio_above_one_means_faster_than_the_other() -> None:
    found = [measured(BARE, 0, 2.0), measured(SAVE, 0, 1.0)]
    assert ratio_to(found, SAVE, BARE) == pytest.approx(2.0)
    assert ratio_to(found, SAVE, BARE, lambda one: one.client_cpu_s) == pytest.approx(0.5)


def test_rounds_that_lack_one_side_do_not_count() -> None:
    found = [measured(BARE, 0, 1.0), measured(SAVE, 0, 1.0), measured(SAVE, 1, 100.0)]
    assert ratio_to(found, SAVE, BARE) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no round"):
        ratio_to(found[2:], SAVE, BARE)


def test_a_median_is_of_one_group() -> None:
    found = [measured(BARE, 0, 1.0), measured(BARE, 1, 2.0), measured(BARE, 2, 4.0)]
    found.append(measured(SAVE, 0, 100.0))
    assert median_of(found, BARE, lambda one: one.records_per_s) == pytest.approx(500)
    assert groups(found) == [BARE, SAVE]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_seen(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.99) == 7.0


def test_the_last_line_has_its_four_numbers() -> None:
    line = quick_line(save=1.044, loop=0.6, action=1.2, rss_growth_mb=-0.04)
    assert line == "save_ratio=1.04 loop_ratio=0.60 action_ratio=1.20 rss_growth=-0.0"
    assert re.fullmatch(r"(\w+=-?\d+\.\d+ ?){4}", line)
