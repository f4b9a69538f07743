"""How a run ended, read back from Temporal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
)
from temporalio.exceptions import TimeoutError as RunTimeoutError

from perdure.db.runs import RunStatus
from perdure.temporal.failures import describe_failure

__all__ = ["OVERDUE", "Outcome", "failed_outcome"]

OVERDUE = "run_timeout"
"""Detail of the termination of a run whose time was over; it stands in histories."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended that did not succeed.

    Attributes:
        status: Neither `running` nor `success`.
        error: Why it failed, as the run's record shows it; None where it was cancelled.
    """

    status: RunStatus
    error: Mapping[str, Any] | None = None


def failed_outcome(failure: WorkflowFailureError | ChildWorkflowError) -> Outcome:
    """Return how a run ended that did not succeed."""
    match failure.cause:
        case CancelledError():
            return Outcome(RunStatus.CANCELLED)
        case TerminatedError() as cause if OVERDUE in cause.details:
            return Outcome(RunStatus.TIMEOUT, {"type": "run_timeout", "message": cause.message})
        case TerminatedError() as cause:
            return Outcome(RunStatus.FAILED, {"type": "run_terminated", "message": cause.message})
        case RunTimeoutError():
            error = {"type": "run_timeout", "message": "The run took longer than it may."}
            return Outcome(RunStatus.TIMEOUT, error)
        case ApplicationError(type="run_timeout"):
            return Outcome(RunStatus.TIMEOUT, describe_failure(failure))
        case _:
            return Outcome(RunStatus.FAILED, describe_failure(failure))
