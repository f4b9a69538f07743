"""The `deploy` workflow: a bundle becomes the active one, and everything follows it."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.deployments import Activated, Batch, BatchDone, DeploymentActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import DeployInput, DeployResult
    from workflows.steps import run_step

__all__ = ["Deploy"]

_BATCH = 50


@workflow.defn(name=WorkflowType.DEPLOY)
class Deploy:
    """One deploy, from its activation to the last schedule. Runs in flight finish on their bundle.

    Its workflow id is that of the environment, so that one is under way at a time.
    """

    @workflow.run
    async def run(self, deployed: DeployInput) -> DeployResult:
        """Deploy.

        Raises:
            ActivityError: `invalid_runs` or `concurrent_deployment`; nothing has changed then.
        """
        bundle = deployed.bundle[:12]
        await run_step(
            DeploymentActivities.check_schedules,
            deployed,
            summary=f"check the schedules of bundle {bundle}",
            policy=policies.BOOKKEEPING,
        )
        activated = await run_step(
            DeploymentActivities.activate_bundle,
            deployed,
            summary=f"make bundle {bundle} the active one",
            policy=policies.BOOKKEEPING,
        )
        result = DeployResult(
            deployment_id=activated.deployment_id, created_at=activated.created_at
        )
        after: int | None = 0
        while after is not None:
            self._tell(result, activated)
            first, last = result.connections + 1, result.connections + _BATCH
            done = await run_step(
                DeploymentActivities.reconcile_connections,
                Batch(deployed=deployed, after=after, limit=_BATCH),
                summary=f"connections {first:,} to {last:,} of {activated.connections:,}",
                policy=policies.SCHEDULES,
            )
            result = _sum(result, done)
            after = done.last if done.connections == _BATCH else None
        self._tell(result, activated)
        return result

    def _tell(self, result: DeployResult, activated: Activated) -> None:
        # Connections that are made meanwhile are gone through as well.
        total = max(result.connections, activated.connections)
        workflow.set_current_details(
            f"Deployment {result.deployment_id}: {result.connections:,} of {total:,} connections; "
            f"schedules: {result.created:,} created, {result.updated:,} updated, "
            f"{result.deleted:,} deleted; {result.erased:,} records erased"
        )


def _sum(result: DeployResult, done: BatchDone) -> DeployResult:
    return result.model_copy(
        update={
            name: getattr(result, name) + getattr(done, name)
            for name in ("connections", "created", "updated", "deleted", "erased")
        }
    )
