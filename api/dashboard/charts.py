"""Where the parts of a chart lie; `charts.html` draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Chart", "Curve", "Series", "curve", "stacked_bars"]

_LABELS = 6


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of thing that is counted.

    Attributes:
        kind: Its name, which is its class in the style sheet, too.
        values: One for each moment.
    """

    kind: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a column, in the chart's units."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """A moment.

    Attributes:
        told: What it says to those who point at it.
        label: What stands below it, empty where there is no room.
    """

    x: float
    told: str
    label: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Line:
    """A value that the axis shows."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of stacked bars.

    Attributes:
        step: Width of a column.
    """

    columns: Sequence[Column]
    lines: Sequence[Line]
    step: float
    width: int = 720
    height: int = 170
    left: int = 46
    right: int = 8
    top: int = 8
    bottom: int = 22

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be seen on it."""
        return not any(column.bars for column in self.columns)


def stacked_bars(moments: Sequence[str], series: Sequence[Series]) -> Chart:
    """Return a bar for each moment, its kinds one on top of the other.

    Args:
        moments: ISO 8601, in order.
        series: The lowest first.
    """
    frame = Chart((), (), 0)
    room = frame.height - frame.top - frame.bottom
    base = frame.height - frame.bottom
    totals = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
    most = _round_up(max(totals, default=0))
    step = (frame.width - frame.left - frame.right) / max(1, len(moments))
    every = max(1, math.ceil(len(moments) / _LABELS))
    columns = []
    for index, moment in enumerate(moments):
        y = float(base)
        bars = []
        for one in series:
            height = one.values[index] / most * room
            y -= height
            if height:
                bars.append(Bar(one.kind, y, height))
        told = ", ".join(f"{one.values[index]:,} {one.kind}" for one in series)
        columns.append(
            Column(
                x=frame.left + index * step,
                told=f"{_label(moment, long=True)}: {told}",
                label=_label(moment) if index % every == 0 else "",
                bars=bars,
            )
        )
    lines = [Line(base - share * room, _short(most * share)) for share in (0, 0.5, 1)]
    return Chart(columns, lines, step)


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a moment, in the chart's units."""

    x: float
    y: float
    told: str


@dataclass(frozen=True, slots=True)
class Curve:
    """How a number went.

    Attributes:
        labels: Texts below the axis, with where they begin.
        frame: Measures of the chart.
    """

    points: Sequence[Point]
    lines: Sequence[Line]
    labels: Sequence[tuple[float, str]]
    frame: Chart


def curve(moments: Sequence[str], values: Sequence[int], kind: str) -> Curve:
    """Return how a number went over time.

    Args:
        moments: ISO 8601, in order.
        values: One for each moment.
        kind: What is counted.
    """
    frame = Chart((), (), 0)
    room = frame.height - frame.top - frame.bottom
    base = frame.height - frame.bottom
    width = frame.width - frame.left - frame.right
    most = _round_up(max(values, default=0))
    times = [datetime.fromisoformat(moment).timestamp() for moment in moments]
    span = max(times[-1] - times[0], 1.0) if times else 1.0
    points = [
        Point(
            frame.left + (time - times[0]) / span * width,
            base - value / most * room,
            f"{_label(moment, long=True)}: {value:,} {kind}",
        )
        for moment, time, value in zip(moments, times, values, strict=True)
    ]
    ends = ((0, moments[0]), (-1, moments[-1])) if len(moments) > 1 else ()
    labels = [
        (points[index].x if index == 0 else frame.width - 90.0, _label(moment, long=True))
        for index, moment in ends
    ]
    lines = [Line(base - share * room, _short(most * share)) for share in (0, 0.5, 1)]
    return Curve(points, lines, labels, frame)


def _short(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + name
    return f"{value:g}"


def _round_up(value: int) -> int:
    """Return the next number that reads well on an axis."""
    if value <= 2:
        return 2
    size: int = 10 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 2, 4, 6, 8, 10) if size * step >= value)


def _label(moment: str, *, long: bool = False) -> str:
    return datetime.fromisoformat(moment).strftime("%d %b %H:%M" if long else "%H:%M")
