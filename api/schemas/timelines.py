"""Steps of runs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from api.schemas.base import Answer
from api.timeline import Timeline

__all__ = ["StepView", "TimelineView"]


class StepView(Answer):
    """One thing that a run did; see `api.timeline.Step`.

    Attributes:
        id: Number of the event in Temporal with which it began.
        type: Name of its activity or workflow, `timer` for a wait.
        text: A sentence about it.
        attempts: How often it was tried.
        error: Why it, or its last attempt, failed.
        next_attempt_at: When it is tried again.
        took: Seconds from when it was asked for to its end.
    """

    id: int
    kind: Literal["request", "save", "wait", "child", "step"]
    type: str
    text: str
    status: Literal["running", "retrying", "done", "failed", "cancelled"]
    began_at: datetime
    ended_at: datetime | None
    took: float | None
    attempts: int
    error: str | None
    next_attempt_at: datetime | None


class TimelineView(Answer):
    """The steps of a run's newest execution, the oldest first.

    Attributes:
        whole: Whether none is missing at the beginning.
        first: Temporal's id of the run's first execution where this is a later one, else null.
    """

    steps: list[StepView]
    whole: bool
    first: str | None

    @classmethod
    def of(cls, timeline: Timeline, first: str | None) -> TimelineView:
        """Show a timeline."""
        steps = [StepView(**asdict(step), took=step.took) for step in timeline.steps]
        return cls(steps=steps, whole=timeline.is_whole, first=first)
