"""The `deploy` workflow as the API starts it, waits for it and cancels it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import CancelledError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.deployments import left_to_do
from api.dependencies import Dependencies
from api.errors import ApiError
from api.schemas.deployments import CancelledDeployment
from api.temporal import RPC_TIMEOUT, settled, temporal_answers
from perdure.db.bundles import Deployment
from perdure.db.environments import Environment
from perdure.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from perdure.ids import BundleHash
from perdure.temporal.names import TaskQueue, WorkflowType, search_attributes
from perdure.temporal.payloads import DeployInput, DeployResult

__all__ = ["cancel_deploy", "deploy_result", "deployment_of", "start_deploy"]

# Ten thousand schedules take minutes; whoever deploys need not wait for the last of them.
_PATIENCE = timedelta(seconds=60)


async def start_deploy(
    deps: Dependencies, caller: Environment, bundle: BundleHash, base: Deployment | None
) -> WorkflowHandle[Any, DeployResult]:
    """Start the deploy of a bundle that is stored.

    Args:
        deps: Parts of the process.
        caller: Where.
        bundle: Which bundle.
        base: The deployment that it takes the place of; it is refused where that is another one.

    Raises:
        ConflictError: `concurrent_deployment`, another deploy is under way.
        UnavailableError: `temporal_unavailable`; nothing was deployed.
    """
    try:
        async with temporal_answers():
            return await deps.temporal.start_workflow(
                WorkflowType.DEPLOY,
                DeployInput(
                    environment=caller.name,
                    environment_id=caller.id,
                    bundle=bundle,
                    previous=base.bundle_hash if base else None,
                    after=base.id if base else 0,
                ),
                id=_workflow_id(caller),
                task_queue=TaskQueue.ACTIONS,
                result_type=DeployResult,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=f"deploy {bundle[:12]} to {caller.name}",
                search_attributes=search_attributes(
                    WorkflowType.DEPLOY, caller.name, bundle=bundle
                ),
                rpc_timeout=RPC_TIMEOUT,
            )
    except WorkflowAlreadyStartedError as error:
        msg = "Another deploy of this environment is under way; try again when it has ended."
        raise ConflictError(
            msg, code="concurrent_deployment", payload={"run_id": error.run_id}
        ) from error
    except UnavailableError as error:
        if error.code != "temporal_unavailable":
            raise
        msg = "Temporal does not answer, so nothing was deployed. Deploy it again."
        raise UnavailableError(msg, code=error.code) from error


async def deploy_result(
    deps: Dependencies,
    caller: Environment,
    bundle: BundleHash,
    handle: WorkflowHandle[Any, DeployResult],
) -> DeployResult | None:
    """Return what a deploy came to, None where it is not known in a minute.

    Raises:
        ConflictError: `concurrent_deployment`, or `deploy_cancelled`.
        InvalidInputError: `invalid_runs`; nothing was deployed.
        ApiError: 500, the deploy failed; `deploy_incomplete` where it has activated the bundle.
    """
    try:
        result: DeployResult | None = await settled(handle, _PATIENCE)
    except ApiError as error:
        # Refused by the workflow before anything changed.
        if error.code == "concurrent_deployment":
            raise ConflictError(error.message, code=error.code) from error
        if error.code == "invalid_runs":
            raise InvalidInputError(error.message, code=error.code) from error
        if error.code == CancelledError.__name__:
            deployment = await deployment_of(deps, caller, bundle)
            told = "nothing has changed."
            if deployment is not None:
                told = (await _standing(deps, caller, ended=True)).message
            msg = f"The deploy was cancelled: {told}"
            raise ConflictError(msg, code="deploy_cancelled") from error
        raise
    return result


async def cancel_deploy(deps: Dependencies, caller: Environment) -> CancelledDeployment:
    """Have the deploy that is under way end after its batch, and say how things stand.

    Raises:
        NotFoundError: `no_deploy_under_way`.
        UnavailableError: `temporal_unavailable`.
    """
    handle = deps.temporal.get_workflow_handle(_workflow_id(caller), result_type=DeployResult)
    if not await _is_under_way(handle):
        msg = "No deploy of this environment is under way."
        raise NotFoundError(msg, code="no_deploy_under_way")
    async with temporal_answers():
        await handle.cancel(rpc_timeout=RPC_TIMEOUT)
    try:
        ended = await settled(handle, _PATIENCE) is not None
    except ApiError:
        ended = True
    return await _standing(deps, caller, ended=ended)


async def deployment_of(
    deps: Dependencies, caller: Environment, bundle: BundleHash
) -> Deployment | None:
    """Return the deployment that made a bundle the active one, None where none has yet."""
    latest = await deps.database.bundles.latest(caller.id)
    return latest if latest and latest.bundle_hash == bundle else None


async def _is_under_way(handle: WorkflowHandle[Any, DeployResult]) -> bool:
    try:
        async with temporal_answers():
            description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return description.status is WorkflowExecutionStatus.RUNNING


async def _standing(deps: Dependencies, caller: Environment, *, ended: bool) -> CancelledDeployment:
    latest = await deps.database.bundles.latest(caller.id)
    reconciled, connections = await deps.database.bundles.progress(latest) if latest else (0, 0)
    if not ended:
        message = "The deploy ends after the connections that it is at."
    elif latest is None:
        message = "Nothing was deployed."
    elif latest.reconciled_at is not None:
        message = f"All connections are in line with bundle {latest.bundle_hash[:12]}."
    else:
        message = left_to_do(latest.bundle_hash, reconciled, connections)
    return CancelledDeployment(
        deployment_id=latest.id if latest else None,
        bundle=latest.bundle_hash if latest else None,
        ended=ended,
        connections=connections,
        reconciled=reconciled,
        message=message,
    )


def _workflow_id(caller: Environment) -> str:
    return f"{WorkflowType.DEPLOY}/{caller.name}"
