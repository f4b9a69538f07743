"""Which runs are ended by force, and what is said of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import TerminatedError

from activities.outcomes import OVERDUE, Outcome, failed_outcome
from activities.overdue_runs import is_to_be_ended
from perdure.db.runs import RunStatus

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ago(minutes: int) -> datetime:
    return NOW - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("over", "stands", "here", "is_ended"),
    [
        (15, 15, 15, True),
        (600, 600, 600, True),
        (14, 600, 600, False),  # its time was over just now
        (-60, 600, 600, False),  # it has time left
        (600, 14, 600, False),  # it was carried on just now
        (600, 600, 14, False),  # workers have just come back, and take up what waits
    ],
)
def test_run_is_ended_once_it_is_late_and_stands_still_beside_a_worker(
    over: int, stands: int, here: int, *, is_ended: bool
) -> None:
    assert is_ended is is_to_be_ended(
        NOW,
        over_at=ago(over),
        stands_since=ago(stands),
        here_since=ago(here),
        patience=timedelta(minutes=15),
    )


def test_run_without_a_limit_is_never_ended() -> None:
    long_ago = ago(100_000)
    assert not is_to_be_ended(
        NOW, over_at=None, stands_since=long_ago, here_since=long_ago, patience=timedelta()
    )


@pytest.mark.parametrize(
    ("details", "outcome"),
    [
        (
            (OVERDUE,),
            Outcome(RunStatus.TIMEOUT, {"type": "run_timeout", "message": "too long"}),
        ),
        ((), Outcome(RunStatus.FAILED, {"type": "run_terminated", "message": "too long"})),
    ],
)
def test_run_that_was_ended_for_its_time_is_told_from_one_that_somebody_terminated(
    details: tuple[str, ...], outcome: Outcome
) -> None:
    failure = WorkflowFailureError(cause=TerminatedError("too long", *details))
    assert failed_outcome(failure) == outcome
