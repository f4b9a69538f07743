"""Figures and what is made of them: medians, ratios of the same round, the last line."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "Group",
    "Measurement",
    "groups",
    "median_of",
    "percentile",
    "quick_line",
    "ratio_to",
]

Phase = str
"""`first`, into an empty table, or `again`, over records that are all there already."""


@dataclass(frozen=True, slots=True)
class Group:
    """What is measured several times."""

    peer: str
    records: int
    page: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one peer.

    Attributes:
        group: What ran.
        round: In which round; peers of one round ran one after the other.
        seconds: How long it took, without the start of the process.
        client_cpu_s: CPU time of the process that reads and writes: the engine's worker, or the
            peer's own process.
        temporal_cpu_s: CPU time of the Temporal server.
        postgres_cpu_s: CPU time of Postgres.
        source_cpu_s: CPU time of the API that was read.
        peak_rss_mb: Most memory of that process at any moment.
        rss_growth_mb: By how much its memory grew from the second quarter of the time to the last.
        events: Events of the workflow's history, None outside of Temporal.
        history_bytes: Size of that history.
    """

    group: Group
    round: int
    seconds: float
    client_cpu_s: float
    temporal_cpu_s: float
    postgres_cpu_s: float
    source_cpu_s: float
    peak_rss_mb: float
    rss_growth_mb: float
    events: int | None = None
    history_bytes: int | None = None

    @property
    def records_per_s(self) -> float:
        """How fast it was."""
        return self.group.records / self.seconds


def groups(found: Iterable[Measurement]) -> list[Group]:
    """Return what was measured, in the order in which it first was."""
    return list(dict.fromkeys(measurement.group for measurement in found))


def median_of(
    found: Iterable[Measurement], group: Group, figure: Callable[[Measurement], float]
) -> float:
    """Return the median of a figure over the rounds."""
    return statistics.median(figure(one) for one in found if one.group == group)


def ratio_to(
    found: Sequence[Measurement],
    group: Group,
    other: Group,
    figure: Callable[[Measurement], float] = lambda one: one.records_per_s,
) -> float:
    """Return a figure of a group over that of another: the median of the rounds' own ratios.

    A machine that is slow for a while is slow for both sides of a round.

    Raises:
        ValueError: No round has both.
    """
    others = {one.round: figure(one) for one in found if one.group == other}
    ratios = [
        figure(one) / others[one.round]
        for one in found
        if one.group == group and one.round in others
    ]
    if not ratios:
        msg = f"no round has both {group} and {other}"
        raise ValueError(msg)
    return statistics.median(ratios)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * round(share * 100) // 100)
    return ordered[max(rank, 1) - 1]


def quick_line(*, save: float, loop: float, action: float, rss_growth_mb: float) -> str:
    """Return the last line of the short benchmark."""
    return (
        f"save_ratio={save:.2f} loop_ratio={loop:.2f} "
        f"action_ratio={action:.2f} rss_growth={rss_growth_mb:.1f}"
    )
