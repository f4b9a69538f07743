"""The `deploy` workflow: a bundle becomes the active one, and everything follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.deployments import (
        Batch,
        BatchDone,
        DeploymentActivities,
        left_to_do,
    )
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import DeployInput, DeployProgress, DeployResult
    from workflows.steps import run_step

__all__ = ["Deploy"]

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")

_BATCH = 50


@workflow.defn(name=WorkflowType.DEPLOY)
class Deploy:
    """One deploy, from its activation to the last schedule. Runs in flight finish on their bundle.

    Its workflow id is that of the environment, so that one is under way at a time. Whoever cancels
    it has it end after the batch that it is at; the bundle that was activated stays the active
    one, and deploying again finishes what was left.
    """

    @workflow.run
    async def run(self, deployed: DeployInput) -> DeployResult:
        """Deploy.

        Raises:
            ActivityError: `invalid_runs` or `concurrent_deployment`; nothing has changed then.
            ApplicationError: `deploy_incomplete`; some connections are not in line yet.
        """
        progress = deployed.progress or await self._begin(deployed)
        batches = 0
        while True:
            self._stop_if_cancelled(deployed, progress)
            self._tell(progress)
            done = await self._reconcile(deployed, progress)
            progress = _after(progress, done)
            if done.connections < _BATCH:
                self._tell(progress)
                return progress.result
            batches += 1
            if workflow.info().is_continue_as_new_suggested() or batches == (
                deployed.batches_per_run
            ):
                self._stop_if_cancelled(deployed, progress)
                workflow.continue_as_new(deployed.model_copy(update={"progress": progress}))

    async def _begin(self, deployed: DeployInput) -> DeployProgress:
        bundle = deployed.bundle[:12]
        await _whole_step(
            DeploymentActivities.check_schedules,
            deployed,
            summary=f"check the schedules of bundle {bundle}",
            policy=policies.BOOKKEEPING,
        )
        if workflow.cancellation_reason() is not None:
            workflow.set_current_details("Cancelled before anything was changed")
            raise asyncio.CancelledError
        activated = await _whole_step(
            DeploymentActivities.activate_bundle,
            deployed,
            summary=f"make bundle {bundle} the active one",
            policy=policies.BOOKKEEPING,
        )
        return DeployProgress(
            result=DeployResult(
                deployment_id=activated.deployment_id, created_at=activated.created_at
            ),
            connections=activated.connections,
        )

    async def _reconcile(self, deployed: DeployInput, progress: DeployProgress) -> BatchDone:
        first = progress.result.connections + 1
        last = first + _BATCH - 1
        try:
            return await _whole_step(
                DeploymentActivities.reconcile_connections,
                Batch(deployed=deployed, after=progress.after, limit=_BATCH),
                summary=f"connections {first:,} to {last:,} of {progress.connections:,}",
                policy=policies.SCHEDULES,
            )
        except ActivityError as error:
            reason = describe_failure(error)["message"]
            message = f"{reason} {_left(deployed, progress)}"
            raise ApplicationError(message, type="deploy_incomplete") from error

    def _stop_if_cancelled(self, deployed: DeployInput, progress: DeployProgress) -> None:
        if workflow.cancellation_reason() is not None:
            workflow.set_current_details(f"Cancelled. {_left(deployed, progress)}")
            raise asyncio.CancelledError

    def _tell(self, progress: DeployProgress) -> None:
        result = progress.result
        # Connections that are made meanwhile are gone through as well.
        total = max(result.connections, progress.connections)
        workflow.set_current_details(
            f"Deployment {result.deployment_id}: {result.connections:,} of {total:,} connections; "
            f"schedules: {result.created:,} created, {result.updated:,} updated, "
            f"{result.deleted:,} deleted; {result.erased:,} records erased"
        )


async def _whole_step(
    activity: Callable[[DeploymentActivities, ArgumentT], Awaitable[ResultT]],
    argument: ArgumentT,
    *,
    summary: str,
    policy: ActivityConfig,
) -> ResultT:
    """Execute an activity to its end, also where the deploy is cancelled meanwhile."""
    step = asyncio.create_task(run_step(activity, argument, summary=summary, policy=policy))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        return await step


def _after(progress: DeployProgress, done: BatchDone) -> DeployProgress:
    result = progress.result
    summed = {
        name: getattr(result, name) + getattr(done, name)
        for name in ("connections", "created", "updated", "deleted", "erased")
    }
    return progress.model_copy(
        update={
            "result": result.model_copy(update=summed),
            "after": progress.after if done.last is None else done.last,
        }
    )


def _left(deployed: DeployInput, progress: DeployProgress) -> str:
    return left_to_do(deployed.bundle, progress.result.connections, progress.connections)
