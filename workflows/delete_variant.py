"""The `variant-delete` workflow."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.variants import VariantActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import SyncInput
    from workflows.steps import run_step

__all__ = ["DeleteVariant"]


@workflow.defn(name=WorkflowType.VARIANT_DELETE)
class DeleteVariant:
    """Ends what runs for a variant of a sync, then deletes it with its records."""

    @workflow.run
    async def run(self, sync: SyncInput) -> None:
        """Delete the variant; deleting one that is gone does nothing."""
        await run_step(
            VariantActivities.delete_variant,
            sync,
            summary=f"delete {sync.sync}::{sync.variant} of {sync.connection_id} and its records",
            policy=policies.SCHEDULES,
        )
