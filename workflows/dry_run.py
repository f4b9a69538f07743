"""The edges of a dry run: it has a row like every run, and leaves a report instead of changes."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.dry_runs import DryRunActivities, FinishDryRunInput
    from activities.runs import RunStatus
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.steps import run_step

__all__ = ["begin_dry_run", "finish_dry_run"]


async def begin_dry_run(context: RunContext) -> None:
    """Note that a dry run began."""
    await run_step(
        DryRunActivities.begin_dry_run,
        context,
        summary=f"start a dry run of {context.script} for {context.connection_id}",
        policy=policies.BOOKKEEPING,
    )


async def finish_dry_run(
    context: RunContext, state: RunState, status: RunStatus, error: BaseException | None
) -> dict[str, dict[str, int]]:
    """Note how a dry run ended and what it would have done.

    Returns:
        How many records would have been added, updated, deleted and left, by model.
    """
    return await run_step(
        DryRunActivities.finish_dry_run,
        FinishDryRunInput(
            context=context,
            status=status,
            error=None if error is None else describe_failure(error),
            checkpoint=state.checkpoint,
            metadata=state.metadata,
        ),
        summary=f"finish: {status}",
        policy=policies.WHOLE_SET,
    )
