"""The `deploy` workflow: what follows when a bundle became an environment's active one."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.schedules import Reconciled, ScheduleActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import DeployInput
    from workflows.steps import run_step

__all__ = ["Deploy"]


@workflow.defn(name=WorkflowType.DEPLOY)
class Deploy:
    """Brings every connection's schedules into line with the bundle. Runs in flight go on."""

    @workflow.run
    async def run(self, deployed: DeployInput) -> Reconciled:
        """Reconcile the schedules."""
        return await run_step(
            ScheduleActivities.reconcile_deployment,
            deployed,
            summary=f"schedules for bundle {deployed.bundle[:12]}",
            policy=policies.SCHEDULES,
        )
