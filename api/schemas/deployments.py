"""Deployments, and plans of deployments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import Field, model_validator

from api.schemas.base import Answer, Body
from config.plan import Change, DeployPlan, PlanEntry
from config.project import Integration, NangoConfig
from config.scripts import EntryKind
from perdure.db.bundles import Deployment

__all__ = [
    "CancelledDeployment",
    "DeployedIntegration",
    "DeploymentAnswer",
    "DeploymentDetail",
    "DeploymentList",
    "DeploymentView",
    "NewDeployment",
    "NewPlan",
    "PlanAnswer",
    "PlanView",
    "PlannedChange",
    "ScheduleCounts",
    "Touched",
    "deployed_integrations",
    "planned_change",
]

_Counts = Mapping[tuple[str, str], int | None]


class DeployTarget(Body):
    """A part of the project; what is not part of it stays as it is deployed."""

    integration: str | None = Field(None, description="Only this integration.")
    sync: str | None = Field(None, description="Only this sync.")
    action: str | None = Field(None, description="Only this action.")

    @model_validator(mode="after")
    def _names_one_thing(self) -> DeployTarget:
        if self.sync is not None and self.action is not None:
            msg = "name a sync or an action, not both"
            raise ValueError(msg)
        return self


class NewPlan(Body):
    """What is to be deployed: a project, or a bundle that was deployed before."""

    files: dict[str, str] | None = Field(
        None,
        description="Content by path below the project folder: `nango.yaml` and Python files.",
    )
    bundle: str | None = Field(None, description="Hash of a bundle to put back.")
    target: DeployTarget | None = Field(None, description="Only a part of the files.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> NewPlan:
        if (self.files is None) == (self.bundle is None):
            msg = "send either `files` or `bundle`"
            raise ValueError(msg)
        if self.bundle is not None and self.target is not None:
            msg = "a bundle is put back as a whole, without a `target`"
            raise ValueError(msg)
        return self


class NewDeployment(NewPlan):
    """What is to be deployed, and on which terms."""

    allow_destructive: bool = Field(
        default=False,
        description="Whether scripts may be removed, records erased, and scripts outside of the "
        "target changed.",
    )
    base: int | None = Field(
        None,
        description="`base` of the plan that was agreed to: where something else was deployed "
        "since, this deploy is refused. Without it, whatever is deployed is replaced.",
    )


class PlannedDifference(Answer):
    """One thing that is different.

    Attributes:
        what: `schedule`, `script`, `model`, `output`, `setting`, `field` or `records`.
        name: Key of `nango.yaml`, path of a file, name of a model or field.
        old: What it was; of a file the beginning of its hash, of records the sync that saved them.
        new: What it will be; of records the sync they stay for, null where they are erased.
    """

    what: str
    name: str
    old: str | None
    new: str | None


class PlannedChange(Answer):
    """What becomes of one sync, action, event script or model.

    Attributes:
        integration: Key of its integration, null for a model.
        name: Its name; of an event script `<event>/<name>`.
        differences: In what it changes; of a new sync when it runs and what it saves.
        destructive: Whether scripts or records are lost.
        connections: Connections that it touches.
        records: Records that it erases or, where it erases none, that it touches; null where there
            are too many to count in time.
    """

    kind: EntryKind
    integration: str | None
    name: str
    change: Change
    differences: list[PlannedDifference]
    destructive: bool
    connections: int
    records: int | None


class Touched(Answer):
    """What there is in the environment.

    Attributes:
        connections: By integration.
        records: By integration and model, None where they are too many to count in time.
    """

    connections: Mapping[str, int]
    records: _Counts


class PlanView(Answer):
    """What a deploy changes.

    Attributes:
        base: Deployment that it changes, 0 for none.
        bundle: Content hash of what is deployed then.
        destructive: Whether scripts or records are lost, which needs `allow_destructive`.
        touches_others: Scripts outside of the target that change with it, as
            `<integration>/<name>`; that needs `allow_destructive`, too.
        added: How many entries are new.
        changed: How many change.
        removed: How many are removed.
        entries: Each of them.
    """

    base: int
    bundle: str
    destructive: bool
    touches_others: list[str]
    added: int
    changed: int
    removed: int
    entries: list[PlannedChange]

    @classmethod
    def of(
        cls,
        plan: DeployPlan,
        touched: Touched,
        *,
        base: int,
        bundle: str,
        touches_others: Iterable[str],
    ) -> PlanView:
        """Show a plan."""
        return cls(
            base=base,
            bundle=bundle,
            destructive=plan.destructive,
            touches_others=list(touches_others),
            added=plan.count(Change.ADDED),
            changed=plan.count(Change.CHANGED),
            removed=plan.count(Change.REMOVED),
            entries=[planned_change(entry, touched) for entry in plan.entries],
        )


class PlanAnswer(PlanView):
    """A plan, and what was noticed on the way.

    Attributes:
        warnings: Texts for people, with file, line and column.
    """

    warnings: list[str]


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
        deployment_id: The deployment that made the bundle the active one; null while no worker
            has taken the deploy up.
        bundle: Content hash.
        changed: Whether it is another bundle than before.
        created_at: Of that deployment.
        warnings: Texts for people, with file, line and column.
        integrations: What is deployed.
        schedules: What became of schedules so far.
        records_erased: How many records were removed so far.
        plan: What the deploy changed.
    """

    deployment_id: int | None
    bundle: str
    changed: bool
    created_at: datetime | None
    warnings: list[str]
    integrations: list[DeployedIntegration]
    schedules: ScheduleCounts
    records_erased: int
    plan: PlanView


class DeploymentView(Answer):
    """One deployment.

    Attributes:
        reconciled_at: When all connections were in line with it; null while the deploy is under
            way, or where it ended early.
    """

    id: int
    bundle: str
    created_at: datetime
    reconciled_at: datetime | None

    @classmethod
    def of(cls, deployment: Deployment) -> DeploymentView:
        """Show a deployment."""
        return cls(
            id=deployment.id,
            bundle=deployment.bundle_hash,
            created_at=deployment.created_at,
            reconciled_at=deployment.reconciled_at,
        )


class DeploymentDetail(DeploymentView):
    """One deployment with what it deployed.

    Attributes:
        active: Whether it is the one in force.
        integrations: What it deployed.
        files: Paths of the files.
    """

    active: bool
    integrations: list[DeployedIntegration]
    files: list[str]


class CancelledDeployment(Answer):
    """How things stand after a deploy was cancelled.

    Attributes:
        deployment_id: The deployment in force, null where there is none.
        bundle: Its bundle.
        ended: Whether the deploy has ended; else it does after the batch that it is at.
        connections: How many connections there are.
        reconciled: How many of them are in line with the deployment, counted from the oldest.
        message: The same for people.
    """

    deployment_id: int | None
    bundle: str | None
    ended: bool
    connections: int
    reconciled: int
    message: str


class DeploymentList(Answer):
    """Deployments, newest first; the first is the one in force."""

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


def planned_change(entry: PlanEntry, touched: Touched) -> PlannedChange:
    """Show what becomes of one thing."""
    return PlannedChange(
        kind=entry.kind,
        integration=entry.integration,
        name=entry.name,
        change=entry.change,
        differences=[
            PlannedDifference(what=item.what, name=item.name, old=item.old, new=item.new)
            for item in entry.differences
        ],
        destructive=entry.destructive,
        connections=sum(touched.connections.get(key, 0) for key in _integrations(entry)),
        records=_sum([touched.records.get(key, 0) for key in entry.records_of]),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _integrations(entry: PlanEntry) -> Sequence[str]:
    if entry.integration is not None:
        return (entry.integration,)
    return [integration for integration, _ in entry.records_of]
