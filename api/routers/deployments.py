"""Deployments: a project becomes a bundle, the bundle becomes the active one."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from activities.schedules import Reconciled
from api.dependencies import Caller, Dependencies, Deps
from api.schemas.deployments import (
    DeploymentAnswer,
    DeploymentList,
    DeploymentView,
    NewDeployment,
    ScheduleCounts,
    deployed_integrations,
)
from api.temporal import search_attributes, settled, start_workflow
from config.compile import compile_project
from config.problems import format_problem
from perdure.db.bundles import Deployment
from perdure.db.environments import Environment
from perdure.errors import UnavailableError
from perdure.ids import BundleHash
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import DeployInput

__all__ = ["router"]

# Ten thousand schedules take minutes; whoever deploys need not wait for the last of them.
_PATIENCE = timedelta(seconds=60)

router = APIRouter(tags=["deployments"])


@router.post("/deployments")
async def create_deployment(deps: Deps, caller: Caller, body: NewDeployment) -> DeploymentAnswer:
    """Check a project and make it the environment's active one. Runs in flight keep theirs."""
    compiled = await asyncio.to_thread(compile_project, body.files)
    changed = compiled.hash != caller.active_bundle
    if changed:
        bundles = deps.database.bundles
        await bundles.put(compiled.hash, compiled.files, compiled.config.to_json())
        deployment = await bundles.deploy(caller.id, compiled.hash)
    else:
        deployment = await _active_deployment(deps, caller)
    reconciled = await _reconcile(deps, caller, compiled.hash)
    warnings = [format_problem(problem, compiled.source) for problem in compiled.warnings]
    if reconciled is None:
        warnings.append("The schedules are still being brought into line; they will be.")
    return DeploymentAnswer(
        deployment_id=deployment.id,
        bundle=compiled.hash,
        changed=changed,
        created_at=deployment.created_at,
        warnings=warnings,
        integrations=deployed_integrations(compiled.config),
        schedules=ScheduleCounts(**reconciled.model_dump()) if reconciled else ScheduleCounts(),
    )


@router.get("/deployments")
async def list_deployments(
    deps: Deps, caller: Caller, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> DeploymentList:
    """Return deployments, newest first."""
    deployments = await deps.database.bundles.deployments(caller.id, limit=limit)
    return DeploymentList(deployments=[DeploymentView.of(found) for found in deployments])


async def _active_deployment(deps: Dependencies, caller: Environment) -> Deployment:
    (latest,) = await deps.database.bundles.deployments(caller.id, limit=1)
    return latest


async def _reconcile(
    deps: Dependencies, caller: Environment, bundle: BundleHash
) -> Reconciled | None:
    try:
        handle = await start_workflow(
            deps.temporal,
            WorkflowType.DEPLOY,
            DeployInput(environment=caller.name, environment_id=caller.id, bundle=bundle),
            workflow_id=f"{WorkflowType.DEPLOY}/{caller.name}/{uuid.uuid4()}",
            summary=f"deploy {bundle[:12]} to {caller.name}",
            attributes=search_attributes(WorkflowType.DEPLOY, caller.name, bundle=bundle),
            result_type=Reconciled,
        )
    except UnavailableError as error:
        if error.code != "temporal_unavailable":
            raise
        msg = (
            "The project is deployed, but Temporal does not answer, so the schedules are not up "
            "to date. Deploy it again."
        )
        raise UnavailableError(msg, code=error.code) from error
    reconciled: Reconciled | None = await settled(handle, _PATIENCE)
    return reconciled
