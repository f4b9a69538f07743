"""The `retry` workflow: a run that ended goes on at the step where it failed."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.retries import RetriedRun, RetryActivities, RetryInput
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from workflows.steps import run_step

__all__ = ["RetryRun"]


@workflow.defn(name=WorkflowType.RETRY)
class RetryRun:
    """Retries one run; a worker does it, since whether a script fits is found by replaying."""

    @workflow.run
    async def run(self, retry: RetryInput) -> RetriedRun:
        """Retry the run.

        Raises:
            ActivityError: It cannot be retried; see `RetryActivities.retry_run`.
        """
        return await run_step(
            RetryActivities.retry_run,
            retry,
            summary=f"retry {retry.run_id}",
            policy=policies.RETRY,
        )
