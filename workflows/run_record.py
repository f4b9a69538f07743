"""A run's own row, for runs that nobody waits for outside of Temporal."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.runs import FinishRunInput, RunActivities, RunStatus
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.payloads import RunContext
    from workflows.steps import run_step
    from workflows.time_limit import failed_status

__all__ = ["RunRecord"]


class RunRecord:
    """Notes how a run begins and ends.

    Args:
        context: The run.
        priority: Fairness key of its steps.
    """

    def __init__(self, context: RunContext, priority: Priority) -> None:
        self._context = context
        self._priority = priority

    async def start(self) -> None:
        """Note that it began."""
        await run_step(
            RunActivities.start_run,
            self._context,
            summary=f"start {self._context.script} for {self._context.connection_id}",
            policy=policies.BOOKKEEPING,
            priority=self._priority,
        )

    async def finish(self, error: BaseException | None) -> None:
        """Note how it ended: with an error, or without."""
        finish = self._finish(error)
        await run_step(
            RunActivities.finish_run,
            finish,
            summary=f"finish: {finish.status}",
            policy=policies.BOOKKEEPING,
            priority=self._priority,
        )

    def _finish(self, error: BaseException | None) -> FinishRunInput:
        if error is None:
            return FinishRunInput(context=self._context, status=RunStatus.SUCCESS)
        if is_cancelled_exception(error):
            return FinishRunInput(context=self._context, status=RunStatus.CANCELLED)
        return FinishRunInput(
            context=self._context, status=failed_status(error), error=describe_failure(error)
        )
