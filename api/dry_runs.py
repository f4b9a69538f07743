"""What a dry run is started with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from activities.actions import action_context
from api.schemas.dry_runs import NewDryRun
from config.project import Action, Integration, NangoConfig, Sync
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.errors import InvalidInputError, NotFoundError
from perdure.ids import BASE_VARIANT, BundleHash, dry_run_workflow_id
from perdure.scripts.bundle import ScriptKind, ScriptPlaces
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import HistoryLimits, RunContext

__all__ = ["Tried", "context_of", "find_script"]


@dataclass(frozen=True, slots=True)
class Tried:
    """The script that is to be tried.

    Attributes:
        integration: Key of its integration.
        path: Its file.
        declared: What `nango.yaml` says of it.
    """

    integration: str
    path: str
    declared: Sync | Action

    @property
    def kind(self) -> ScriptKind:
        """What it is."""
        return ScriptKind.SYNC if isinstance(self.declared, Sync) else ScriptKind.ACTION


def find_script(
    config: NangoConfig, places: ScriptPlaces, name: str, integration: str | None
) -> Tried:
    """Return the script that is meant.

    Args:
        config: The project.
        places: Where its scripts lie.
        name: Name of the script, or the path of its file.
        integration: Only of this integration.

    Raises:
        NotFoundError: `script_not_found`.
        InvalidInputError: `ambiguous_script`, several are meant.
    """
    found = [
        tried
        for item in config.integrations
        if integration is None or item.key == integration
        for tried in _scripts(item, places)
        if name in (tried.declared.name, tried.path)
    ]
    if not found:
        where = f" of {integration}" if integration else ""
        msg = f"nango.yaml names no sync and no action {name!r}{where} that has a file."
        raise NotFoundError(msg, code="script_not_found")
    if len(found) > 1:
        paths = ", ".join(tried.path for tried in found)
        msg = f"Several scripts are called {name!r}; name one by its file: {paths}"
        raise InvalidInputError(msg, code="ambiguous_script")
    return found[0]


def _scripts(item: Integration, places: ScriptPlaces) -> Iterator[Tried]:
    declared_scripts: tuple[Sync | Action, ...] = (*item.syncs, *item.actions)
    for declared in declared_scripts:
        kind = ScriptKind.SYNC if isinstance(declared, Sync) else ScriptKind.ACTION
        path = places.find(item.key, kind, declared.name)
        if path is not None:
            yield Tried(item.key, path, declared)


def context_of(
    wanted: NewDryRun,
    tried: Tried,
    *,
    environment: Environment,
    connection: Connection,
    bundle: BundleHash,
    history: HistoryLimits,
) -> RunContext:
    """Return what the dry run knows about itself, but for its run id.

    Raises:
        InvalidInputError: `invalid_body`, something was given that the script has no use for.
    """
    workflow_id = dry_run_workflow_id(environment.name, str(uuid.uuid4()))
    own = {
        "dry_run": True,
        "keeps_requests": wanted.keep_requests,
        "validation": "enforce" if wanted.validate_values else environment.validation,
    }
    declared = tried.declared
    if isinstance(declared, Action):
        if wanted.last_sync_date is not None or wanted.variant != BASE_VARIANT:
            msg = "Only syncs have a last sync date and variants."
            raise InvalidInputError(msg, code="invalid_body")
        context = action_context(
            environment,
            connection,
            bundle,
            declared,
            workflow_id=workflow_id,
            log_level="debug",
            history=history,
        )
        return context.model_copy(update=own)
    if wanted.input is not None:
        msg = "Only actions have an input; a sync reads the connection's metadata."
        raise InvalidInputError(msg, code="invalid_body")
    context = RunContext(
        run_id="",
        workflow_id=workflow_id,
        started_at=utcnow(),
        environment=environment.name,
        environment_id=environment.id,
        integration=connection.integration,
        provider=connection.provider,
        connection_id=connection.connection_id,
        connection_key=connection.key,
        kind=WorkflowType.SYNC,
        script=declared.name,
        variant=wanted.variant,
        bundle=bundle,
        models=declared.output,
        last_sync_date=wanted.last_sync_date,
        input=declared.input,
        full=declared.sync_type == "full",
        track_deletes=declared.sync_type == "full" and declared.track_deletes,
        retry_limit=declared.retry_limit,
        delete_guard=declared.delete_guard,
        log_level="debug",
        history=history,
    )
    return context.model_copy(update=own)
