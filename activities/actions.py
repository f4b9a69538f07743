"""What a run of an action is started with, whoever starts it."""

from __future__ import annotations

from temporalio import activity

from activities.bundles import BundleCache, script_files
from activities.runs import log_level_of
from config.project import Action
from perdure.clock import utcnow
from perdure.db.bundles import StoredBundle
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.errors import NotFoundError
from perdure.ids import BundleHash, EnvironmentId
from perdure.nango import LoggerLevel
from perdure.scripts.bundle import ScriptKind
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import HistoryLimits, Payload, RunContext, ScriptFiles

__all__ = [
    "ActionActivities",
    "ActionRef",
    "PreparedAction",
    "action_context",
    "declared_action",
    "disabled_action",
    "refuse_disabled",
]


class ActionRef(Payload):
    """An action that a script triggers.

    Attributes:
        bundle: The bundle of the run that triggers it: what was deployed together runs together.
        by_event: Whether a script does that runs on an event; it may while its connection is being
            deleted, too.
    """

    environment_id: int
    bundle: str
    integration: str
    connection_id: str
    action: str
    by_event: bool = False


class PreparedAction(Payload):
    """What the run of an action is started with.

    Attributes:
        context: The run; its `run_id` and `workflow_id` are empty.
        script: The files of its script.
    """

    context: RunContext
    script: ScriptFiles


async def declared_action(
    bundles: BundleCache, bundle: BundleHash | None, integration: str, name: str
) -> tuple[StoredBundle, Action]:
    """Return a bundle, and what it says about an action.

    Raises:
        NotFoundError: The bundle has no such action, or there is none.
    """
    if bundle is not None:
        found = (await bundles.config(bundle)).integration(integration)
        action = found.action(name) if found is not None else None
        if action is not None:
            return await bundles.get(bundle), action
    msg = f"The integration {integration!r} has no action {name!r}; deploy a project that has it."
    raise NotFoundError(msg)


async def refuse_disabled(
    database: Database, environment_id: EnvironmentId, integration: str, name: str
) -> None:
    """Refuse to call an action that is disabled.

    Raises:
        NotFoundError: `disabled_resource`.
    """
    if await database.actions.is_disabled(environment_id, integration, name):
        raise disabled_action(integration, name)


def disabled_action(integration: str, name: str) -> NotFoundError:
    """Return the error of a call of an action that is disabled."""
    msg = f"The action {name!r} of {integration!r} is disabled; `perdure actions enable` it."
    return NotFoundError(msg, code="disabled_resource")


def action_context(
    environment: Environment,
    connection: Connection,
    bundle: BundleHash,
    action: Action,
    *,
    workflow_id: str,
    log_level: LoggerLevel,
    history: HistoryLimits,
) -> RunContext:
    """Return what the run of an action knows about itself, but for its run id."""
    return RunContext(
        run_id="",
        workflow_id=workflow_id,
        started_at=utcnow(),
        environment=environment.name,
        environment_id=environment.id,
        integration=connection.integration,
        provider=connection.provider,
        connection_id=connection.connection_id,
        connection_key=connection.key,
        kind=WorkflowType.ACTION,
        script=action.name,
        bundle=bundle,
        validation=environment.validation,
        input=action.input,
        output=action.output[0] if action.output else None,
        retry_limit=action.retry_limit,
        run_timeout=action.run_timeout,
        log_level=log_level,
        history=history,
        credentials_version=connection.credentials_version,
    )


class ActionActivities:
    """Steps before a script's action runs."""

    def __init__(self, database: Database, bundles: BundleCache, history: HistoryLimits) -> None:
        self._database = database
        self._bundles = bundles
        self._history = history

    @activity.defn
    async def prepare_action(self, wanted: ActionRef) -> PreparedAction:
        """Find connection and action.

        Raises:
            NotFoundError: `unknown_connection`, `unknown_provider_config`, `not_found`: the
                integration has no such action, or `disabled_resource`.
            ConflictError: `connection_being_deleted`.
        """
        environment_id = EnvironmentId(wanted.environment_id)
        environment = await self._database.environments.by_id(environment_id)
        connection = await self._database.connections.get(
            environment_id, wanted.integration, wanted.connection_id
        )
        if not wanted.by_event:
            connection.refuse_deleting()
        bundle, action = await declared_action(
            self._bundles, BundleHash(wanted.bundle), wanted.integration, wanted.action
        )
        await refuse_disabled(self._database, environment_id, wanted.integration, wanted.action)
        context = action_context(
            environment,
            connection,
            bundle.hash,
            action,
            workflow_id="",
            log_level=await log_level_of(self._database, environment_id),
            history=self._history,
        )
        script = script_files(bundle, wanted.integration, ScriptKind.ACTION, wanted.action)
        return PreparedAction(context=context, script=script)
