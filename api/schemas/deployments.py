"""Deployments."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas.base import Answer, Body
from config.project import Integration, NangoConfig
from perdure.db.bundles import Deployment

__all__ = [
    "DeployedIntegration",
    "DeploymentAnswer",
    "DeploymentList",
    "DeploymentView",
    "NewDeployment",
    "ScheduleCounts",
    "deployed_integrations",
]


class NewDeployment(Body):
    """A project to deploy."""

    files: dict[str, str] = Field(
        description="Content by path below the project folder: `nango.yaml` and Python files."
    )


class DeployedSync(Answer):
    """A sync of the project."""

    name: str
    runs: str
    models: list[str]
    auto_start: bool


class DeployedAction(Answer):
    """An action of the project."""

    name: str


class DeployedIntegration(Answer):
    """An integration of the project."""

    key: str
    syncs: list[DeployedSync]
    actions: list[DeployedAction]


class ScheduleCounts(Answer):
    """What became of the schedules of syncs."""

    created: int = 0
    updated: int = 0
    deleted: int = 0


class DeploymentAnswer(Answer):
    """What a deploy came to.

    Attributes:
        deployment_id: The deployment that made the bundle the active one.
        bundle: Content hash.
        changed: Whether it is another bundle than before.
        created_at: Of that deployment.
        warnings: Texts for people, with file, line and column.
    """

    deployment_id: int | None
    bundle: str
    changed: bool
    created_at: datetime
    warnings: list[str]
    integrations: list[DeployedIntegration]
    schedules: ScheduleCounts


class DeploymentView(Answer):
    """One deployment."""

    id: int
    bundle: str
    created_at: datetime

    @classmethod
    def of(cls, deployment: Deployment) -> DeploymentView:
        """Show a deployment."""
        return cls(
            id=deployment.id, bundle=deployment.bundle_hash, created_at=deployment.created_at
        )


class DeploymentList(Answer):
    """Deployments, newest first."""

    deployments: list[DeploymentView]


def deployed_integrations(config: NangoConfig) -> list[DeployedIntegration]:
    """Show what a project holds."""
    return [_integration(integration) for integration in config.integrations]


def _integration(integration: Integration) -> DeployedIntegration:
    return DeployedIntegration(
        key=integration.key,
        syncs=[
            DeployedSync(
                name=sync.name,
                runs=sync.runs,
                models=list(sync.output),
                auto_start=sync.auto_start,
            )
            for sync in integration.syncs
        ],
        actions=[DeployedAction(name=action.name) for action in integration.actions],
    )
