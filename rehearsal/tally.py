"""What came of every request, by the phase of the rehearsal in which it came."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Phase", "Tally"]


@dataclass
class Phase:
    """A part of the rehearsal.

    Attributes:
        name: As in the table.
        answered: Answers that were no refusal.
        refused: 503, by code; the same request was accepted later.
        broken: Requests whose connection broke, by how, and which their sender sent again.
        faults: Any other answer that nobody may get, each with what it said.
        longest_gap: Most seconds between two answers, to whomever.
        seconds: How long it took.
        took: Seconds until a process was ready again, by its name.
    """

    name: str
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    longest_gap: float = 0.0
    seconds: float = 0.0
    took: dict[str, float] = field(default_factory=dict)


class Tally:
    """Keeps the phases; one is the present one.

    Args:
        clock: Says how late it is, in seconds.

    Attributes:
        phases: All of them so far.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.phases: list[Phase] = []
        self._clock = clock
        self._began = self._answered_at = clock()

    @property
    def now(self) -> Phase:
        """The present phase."""
        return self.phases[-1]

    def begin(self, name: str) -> Phase:
        """Begin a phase, which ends the one before."""
        self.end()
        self._began = self._clock()
        if not self.phases:
            self._answered_at = self._began
        self.phases.append(Phase(name))
        return self.now

    def end(self) -> None:
        """End the present phase."""
        if self.phases:
            self._note_gap()
            self.now.seconds = self._clock() - self._began

    def answered(self) -> None:
        """Note an answer."""
        self._note_gap()
        self._answered_at = self._clock()
        self.now.answered += 1

    def _note_gap(self) -> None:
        gap = self._clock() - self._answered_at
        self.now.longest_gap = max(self.now.longest_gap, gap)
