"""Charts: whatever the numbers are, every part lies within the chart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.charts import Chart, Series, curve, stacked_bars

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
COUNTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=48)


def moments(count: int) -> list[str]:
    return [(BEGAN + timedelta(hours=number)).isoformat() for number in range(count)]


@given(COUNTS)
def test_bars_stand_on_each_other_and_within_the_chart(counts: list[int]) -> None:
    series = [Series("added", counts), Series("deleted", counts[::-1])]
    chart = stacked_bars(moments(len(counts)), series)

    base = chart.height - chart.bottom
    for column in chart.columns:
        foot = float(base)
        for bar in column.bars:
            assert bar.height > 0
            assert abs(bar.y + bar.height - foot) < 1e-6
            foot = bar.y
        assert foot >= chart.top - 1e-6
        assert chart.left <= column.x < chart.width


@given(COUNTS)
def test_curve_lies_within_the_chart(counts: list[int]) -> None:
    drawn = curve(moments(len(counts)), counts, "records")

    for point in drawn.points:
        assert drawn.frame.left <= point.x <= drawn.frame.width - drawn.frame.right + 1e-6
        assert drawn.frame.top - 1e-6 <= point.y <= drawn.frame.height - drawn.frame.bottom


def test_chart_without_changes_is_empty() -> None:
    assert stacked_bars(moments(24), [Series("added", [0] * 24)]).is_empty
    assert stacked_bars([], [Series("added", [])]).is_empty
    assert Chart((), (), 0).is_empty


def test_axis_ends_at_a_number_that_reads_well() -> None:
    def axis(most: int) -> list[str]:
        return [line.text for line in stacked_bars(moments(1), [Series("added", [most])]).lines]

    assert axis(0) == ["0", "1", "2"]
    assert axis(7) == ["0", "4", "8"]
    assert axis(1_300) == ["0", "1k", "2k"]
    assert axis(3_413_000) == ["0", "2M", "4M"]


def test_those_who_point_at_a_column_are_told_all_of_it() -> None:
    series = [Series("added", [1_000]), Series("deleted", [2])]
    (column,) = stacked_bars(moments(1), series).columns
    assert column.told == "01 Jan 00:00: 1,000 added, 2 deleted"
