"""What a run that empties the cache does before and after its script."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.resyncs import ResyncActivities
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext
    from workflows.steps import run_step

__all__ = ["drop_leftovers", "swap_records"]


async def drop_leftovers(context: RunContext, priority: Priority) -> None:
    """Remove what an earlier run that failed has built, where there is any."""
    if context.leftovers:
        await run_step(
            ResyncActivities.drop_leftovers,
            context,
            summary="drop what an earlier run built and never showed",
            policy=policies.SWAP,
            priority=priority,
        )


async def swap_records(context: RunContext, priority: Priority) -> None:
    """Show readers what the run has built, where it did so beside what they see."""
    if context.empty_cache:
        await run_step(
            ResyncActivities.swap_records,
            context,
            summary=f"replace all {', '.join(context.models)} by what was built",
            policy=policies.SWAP,
            priority=priority,
        )
