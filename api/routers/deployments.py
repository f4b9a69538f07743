"""Deployments: a project becomes a bundle, the bundle becomes the active one.

Every deploy has a plan first. Activating a bundle and all that follows is one `deploy` workflow;
there is one at a time in an environment, so a deploy that comes too late changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Query

from api.dependencies import Caller, Dependencies, Deps
from api.deploy_workflow import cancel_deploy, deploy_result, deployment_of, start_deploy
from api.schemas.deployments import (
    CancelledDeployment,
    DeploymentAnswer,
    DeploymentDetail,
    DeploymentList,
    DeploymentView,
    NewDeployment,
    NewPlan,
    PlanAnswer,
    PlanView,
    ScheduleCounts,
    Touched,
    deployed_integrations,
)
from config.compile import compile_part, compile_project
from config.partial import Target, touched_outside
from config.plan import DeployPlan, plan
from config.project import NangoConfig
from config.scripts import EMPTY_PROJECT, Project
from perdure.db.bundles import Deployment, StoredBundle
from perdure.db.environments import Environment
from perdure.errors import ConflictError
from perdure.ids import BundleHash

__all__ = ["router"]

# Whoever waits for a plan waits this long at most for the numbers in it.
_COUNTING = timedelta(seconds=1.5)

DeploymentId = Annotated[int, Path(ge=1, le=2**63 - 1)]

router = APIRouter(tags=["deployments"])


class _Compiled(NamedTuple):
    """What a deploy comes to, before anything is asked of the environment.

    Attributes:
        project: What is to be deployed.
        bundle: Its hash.
        plan: What changes.
        others: Scripts outside of the deploy's target that change with it.
        warnings: What was noticed on the way.
    """

    project: Project
    bundle: BundleHash
    plan: DeployPlan
    others: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A deploy that is ready to be carried out.

    Attributes:
        base: What it takes the place of.
        compiled: What is to be deployed.
        shown: The plan with what it touches.
    """

    base: Deployment | None
    compiled: _Compiled
    shown: PlanView

    @property
    def bundle(self) -> BundleHash:
        """Hash of what is to be deployed."""
        return self.compiled.bundle


@router.post("/deployments/plan")
async def plan_deployment(deps: Deps, caller: Caller, body: NewPlan) -> PlanAnswer:
    """Say what a deploy would change, and change nothing."""
    prepared = await _prepare(deps, caller, body)
    return PlanAnswer(**dict(prepared.shown), warnings=[*prepared.compiled.warnings])


@router.post("/deployments")
async def create_deployment(deps: Deps, caller: Caller, body: NewDeployment) -> DeploymentAnswer:
    """Make a project the environment's active one. Runs in flight finish on what they started with.

    Schedules and records follow; where that takes longer than a minute it goes on by itself.
    """
    prepared = await _prepare(deps, caller, body)
    if body.base is not None and body.base != prepared.shown.base:
        msg = "Something else was deployed since the plan was made; look at the plan again."
        raise ConflictError(msg, code="concurrent_deployment", payload=_payload(prepared))
    if prepared.shown.destructive and not body.allow_destructive:
        msg = "The deploy removes scripts or erases records; `allow_destructive` has to allow it."
        raise ConflictError(msg, code="destructive_changes", payload=_payload(prepared))
    if prepared.shown.touches_others and not body.allow_destructive:
        raise _touches_others(prepared)
    desired = prepared.compiled.project
    await deps.database.bundles.put(prepared.bundle, desired.files, desired.config.to_json())
    handle = await start_deploy(deps, caller, prepared.bundle, prepared.base)
    result = await deploy_result(deps, caller, prepared.bundle, handle)
    warnings = [*prepared.compiled.warnings]
    if result is None:
        warnings = [*warnings, "The deploy is still under way; it goes on by itself."]
    deployment = await deployment_of(deps, caller, prepared.bundle)
    return DeploymentAnswer(
        deployment_id=deployment.id if deployment else None,
        bundle=prepared.bundle,
        changed=prepared.base is None or prepared.base.bundle_hash != prepared.bundle,
        created_at=deployment.created_at if deployment else None,
        warnings=warnings,
        integrations=deployed_integrations(desired.config),
        schedules=ScheduleCounts(
            created=result.created, updated=result.updated, deleted=result.deleted
        )
        if result
        else ScheduleCounts(),
        records_erased=result.erased if result else 0,
        plan=prepared.shown,
    )


@router.post("/deployments/cancel")
async def cancel_deployment(deps: Deps, caller: Caller) -> CancelledDeployment:
    """Have the deploy that is under way end after the connections that it is at.

    What it activated stays the active bundle; deploying again finishes what is left.
    """
    return await cancel_deploy(deps, caller)


@router.get("/deployments")
async def list_deployments(
    deps: Deps, caller: Caller, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> DeploymentList:
    """Return deployments, newest first."""
    deployments = await deps.database.bundles.deployments(caller.id, limit=limit)
    return DeploymentList(deployments=[DeploymentView.of(found) for found in deployments])


@router.get("/deployments/{deployment_id}")
async def get_deployment(
    deps: Deps, caller: Caller, deployment_id: DeploymentId
) -> DeploymentDetail:
    """Return a deployment with what it deployed."""
    deployment = await deps.database.bundles.deployment(caller.id, deployment_id)
    bundle = await deps.bundles.get(deployment.bundle_hash)
    latest = await deps.database.bundles.latest(caller.id)
    config = await deps.bundles.config(deployment.bundle_hash)
    return DeploymentDetail(
        **dict(DeploymentView.of(deployment)),
        active=latest is not None and latest.id == deployment.id,
        integrations=deployed_integrations(config),
        files=sorted(bundle.files),
    )


def _touches_others(prepared: _Prepared) -> ConflictError:
    others = prepared.shown.touches_others
    msg = (
        f"What is deployed is shared with scripts outside of it, which would change too: "
        f"{', '.join(others[:10])}. Deploy them together, or let `allow_destructive` allow it."
    )
    return ConflictError(msg, code="target_touches_others", payload=_payload(prepared))


async def _prepare(deps: Dependencies, caller: Environment, body: NewPlan) -> _Prepared:
    base = await deps.database.bundles.latest(caller.id)
    stored = await deps.bundles.get(base.bundle_hash) if base else None
    if body.files is not None:
        target = Target(**body.target.model_dump()) if body.target else Target()
        compiled = await asyncio.to_thread(_compile, stored, body.files, target)
    else:
        put_back = await deps.database.bundles.deployed(caller.id, body.bundle or "")
        compiled = await asyncio.to_thread(_put_back, stored, put_back)
    shown = PlanView.of(
        compiled.plan,
        await _touched(deps, caller, compiled.plan),
        base=base.id if base else 0,
        bundle=compiled.bundle,
        touches_others=compiled.others,
    )
    return _Prepared(base, compiled, shown)


def _compile(stored: StoredBundle | None, files: Mapping[str, str], target: Target) -> _Compiled:
    current = _project(stored)
    compiled = compile_project(files) if target.is_whole else compile_part(files, current, target)
    desired = compiled.project
    changes = plan(current, desired)
    others = touched_outside(changes, compiled.target)
    return _Compiled(desired, desired.hash, changes, others, [*compiled.warnings])


def _put_back(stored: StoredBundle | None, put_back: StoredBundle) -> _Compiled:
    desired = _project(put_back)
    return _Compiled(desired, put_back.hash, plan(_project(stored), desired))


def _project(stored: StoredBundle | None) -> Project:
    if stored is None:
        return EMPTY_PROJECT
    return Project(stored.files, NangoConfig.from_json(stored.config))


async def _touched(deps: Dependencies, caller: Environment, changes: DeployPlan) -> Touched:
    models = sorted({model for entry in changes.entries for model in entry.records_of})
    return Touched(
        connections=await deps.database.connections.count_by_integration(caller.id),
        records=await deps.database.record_sets.count_by_model(caller.id, models, budget=_COUNTING),
    )


def _payload(prepared: _Prepared) -> dict[str, Any]:
    return {"plan": prepared.shown.model_dump(mode="json")}
