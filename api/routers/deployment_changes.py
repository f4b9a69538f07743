"""What a deployment changed against the one before it."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated

from fastapi import APIRouter, Path

from activities.bundles import BundleCache
from api.dependencies import Caller, Deps
from api.schemas.base import Answer
from api.schemas.deployments import PlannedChange, Touched, planned_change
from config.plan import plan
from config.scripts import EMPTY_PROJECT, Project
from perdure.db.bundles import Deployment

__all__ = ["router"]

router = APIRouter(tags=["deployments"])


class FileDiff(Answer):
    """How a file changed.

    Attributes:
        diff: A unified diff.
    """

    path: str
    diff: str


class DeploymentChanges(Answer):
    """What a deployment changed.

    Attributes:
        before: The deployment before it, null where it was the first.
        entries: Syncs, actions, event scripts and models that changed, without the connections and
            records that this touched at the time.
        files: The files that changed.
    """

    before: int | None
    entries: list[PlannedChange]
    files: list[FileDiff]


@router.get("/deployments/{deployment_id}/changes")
async def get_deployment_changes(
    deps: Deps, caller: Caller, deployment_id: Annotated[int, Path(ge=1, le=2**63 - 1)]
) -> DeploymentChanges:
    """Return what a deployment changed against the one before it."""
    deployment = await deps.database.bundles.deployment(caller.id, deployment_id)
    before = await deps.database.bundles.before(caller.id, deployment_id)
    old = await _project(deps.bundles, before)
    new = await _project(deps.bundles, deployment)
    entries = await asyncio.to_thread(plan, old, new)
    untold = Touched(connections={}, records={})
    return DeploymentChanges(
        before=before.id if before else None,
        entries=[planned_change(entry, untold) for entry in entries.entries],
        files=list(_diffs(old.files, new.files)),
    )


async def _project(bundles: BundleCache, deployment: Deployment | None) -> Project:
    if deployment is None:
        return EMPTY_PROJECT
    stored = await bundles.get(deployment.bundle_hash)
    return Project(stored.files, await bundles.config(deployment.bundle_hash))


def _diffs(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[FileDiff]:
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) == new.get(path):
            continue
        lines = difflib.unified_diff(
            old.get(path, "").splitlines(),
            new.get(path, "").splitlines(),
            path if path in old else "/dev/null",
            path if path in new else "/dev/null",
            lineterm="",
        )
        yield FileDiff(path=path, diff="\n".join(lines))
