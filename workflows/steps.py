"""How workflows call activities: always with a sentence that an audit can be read by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import Priority
from temporalio.workflow import ActivityConfig, LocalActivityConfig

with workflow.unsafe.imports_passed_through():
    from perdure.temporal import policies

__all__ = ["run_at_once", "run_step", "shortened"]

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")

_SUMMARY_LENGTH = 180  # the server takes 400 bytes; the UI shows one line


def shortened(text: str) -> str:
    """Return a text as one line that fits a summary."""
    line = " ".join(text.split())
    return line if len(line) <= _SUMMARY_LENGTH else f"{line[: _SUMMARY_LENGTH - 1]}…"


async def run_step(
    activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
    argument: ArgumentT,
    *,
    summary: str,
    policy: ActivityConfig,
    priority: Priority = Priority.default,
) -> ResultT:
    """Execute an activity and return its result.

    Args:
        activity: A method of an activities class.
        argument: Its one argument.
        summary: What the step does, for people.
        policy: One of `perdure.temporal.policies`.
        priority: Fairness key of the step.

    Raises:
        ActivityError: The activity failed for good.
    """
    config: ActivityConfig = {**policy, "summary": shortened(summary), "priority": priority}
    return await workflow.execute_activity_method(activity, argument, **config)


async def run_at_once(
    activity: Callable[[Any, ArgumentT], Awaitable[ResultT]], argument: ArgumentT, *, summary: str
) -> ResultT:
    """Execute an activity that takes a moment where the workflow runs, and return its result.

    It costs no task of its own, and goes on being tried for as long as our database is away.

    Args:
        activity: A method of an activities class.
        argument: Its one argument.
        summary: What the step does, for people.

    Raises:
        ActivityError: The activity failed for good.
    """
    config: LocalActivityConfig = {**policies.AT_ONCE, "summary": shortened(summary)}
    return await workflow.execute_local_activity_method(activity, argument, **config)
