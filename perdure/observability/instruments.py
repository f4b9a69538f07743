"""Counters, timings and levels: how a process is measured.

Like loggers they are named once, in `perdure.observability.metrics`, and used wherever something
happens; what they record goes nowhere until `connect_instruments` gives them a meter. A record
costs one to two microseconds then.

A label has few values, known in advance or made by a deploy: names of integrations and scripts,
kinds, outcomes, statuses. Ids of connections, records and runs are none, nor is anything secret:
they belong into logs and traces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from temporalio.common import MetricMeter

__all__ = ["INSTRUMENTS", "Counter", "Instrument", "Level", "Timing", "connect_instruments"]


class Instrument(ABC):
    """What is measured under one name.

    Args:
        name: Without the suffix that Prometheus wants, `_total` or `_seconds`.
        description: What it tells, for whoever reads `/metrics`.
        labels: By what it is divided; every record names all of them.
    """

    def __init__(self, name: str, description: str, labels: Sequence[str] = ()) -> None:
        self.name: Final = name
        self.description: Final = description
        self.labels: Final = tuple(labels)
        self._names: Final = frozenset(labels)
        self.connect(MetricMeter.noop)
        INSTRUMENTS.append(self)

    @property
    def exposed(self) -> str:
        """Its name at `/metrics`."""
        return self.name

    @abstractmethod
    def connect(self, meter: MetricMeter) -> None:
        """Record with this meter from now on."""

    def _checked(self, labels: dict[str, str]) -> dict[str, str]:
        if labels.keys() != self._names:
            msg = f"{self.name} has the labels {self.labels}, not {tuple(labels)}"
            raise ValueError(msg)
        return labels


INSTRUMENTS: Final[list[Instrument]] = []
"""All there are."""


class Counter(Instrument):
    """Counts what happens."""

    @property
    def exposed(self) -> str:
        """Its name at `/metrics`."""
        return f"{self.name}_total"

    def connect(self, meter: MetricMeter) -> None:
        """Count with this meter from now on."""
        self._counter = meter.create_counter(self.name, self.description)

    def add(self, count: int = 1, /, **labels: str) -> None:
        """Count something; nothing is counted for 0."""
        if count:
            self._counter.add(count, self._checked(labels))


class Timing(Instrument):
    """Counts durations by their length.

    Args:
        name: As `Instrument`.
        description: As `Instrument`.
        labels: As `Instrument`.
        bounds: Upper bounds in seconds of the lengths that are told apart, ascending.
    """

    def __init__(
        self, name: str, description: str, labels: Sequence[str] = (), *, bounds: Sequence[float]
    ) -> None:
        self.bounds: Final = tuple(bounds)
        super().__init__(name, description, labels)

    @property
    def exposed(self) -> str:
        """Its name at `/metrics`."""
        return f"{self.name}_seconds"

    def connect(self, meter: MetricMeter) -> None:
        """Record with this meter from now on."""
        # Not as a timedelta: that would be cut off to whole milliseconds.
        self._histogram = meter.create_histogram_float(self.exposed, self.description)

    def record(self, seconds: float, /, **labels: str) -> None:
        """Record a duration. A clock that was set back makes none that is less than zero."""
        self._histogram.record(max(seconds, 0.0), self._checked(labels))


class Level(Instrument):
    """Tells how much there is of something at the moment."""

    def connect(self, meter: MetricMeter) -> None:
        """Record with this meter from now on."""
        self._gauge = meter.create_gauge(self.name, self.description)

    def set(self, value: int, /, **labels: str) -> None:
        """Say how much there is."""
        self._gauge.set(value, self._checked(labels))


def connect_instruments(meter: MetricMeter) -> None:
    """Have all instruments record with a meter; the last one counts, as with a log's settings."""
    for instrument in INSTRUMENTS:
        instrument.connect(meter)
