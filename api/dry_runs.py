"""What a dry run is started with."""

from __future__ import annotations

import uuid

from activities.actions import action_context
from api.schemas.dry_runs import NewDryRun
from config.project import Action, Sync
from config.script_lookup import FoundScript
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.errors import InvalidInputError
from perdure.ids import BASE_VARIANT, BundleHash, dry_run_workflow_id
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import HistoryLimits, RunContext

__all__ = ["context_of"]


def context_of(
    wanted: NewDryRun,
    tried: FoundScript,
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
    own = {
        "dry_run": True,
        "keeps_requests": wanted.keep_requests,
        "validation": "enforce" if wanted.validate_values else environment.validation,
    }
    declared = tried.declared
    if not isinstance(declared, Sync) and (
        wanted.last_sync_date is not None or wanted.variant != BASE_VARIANT
    ):
        msg = "Only syncs have a last sync date and variants."
        raise InvalidInputError(msg, code="invalid_body")
    if not isinstance(declared, Action) and wanted.input is not None:
        msg = "Only actions have an input; other scripts read the connection's metadata."
        raise InvalidInputError(msg, code="invalid_body")
    workflow_id = dry_run_workflow_id(environment.name, str(uuid.uuid4()))
    if isinstance(declared, Action):
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
        kind=WorkflowType.ON_EVENT if declared is None else WorkflowType.SYNC,
        script=tried.name,
        bundle=bundle,
        log_level="debug",
        history=history,
        credentials_version=connection.credentials_version,
    )
    if declared is None:
        return context.model_copy(update=own)
    of_sync = {
        "variant": wanted.variant,
        "models": declared.output,
        "last_sync_date": wanted.last_sync_date,
        "input": declared.input,
        "full": declared.sync_type == "full",
        "track_deletes": declared.sync_type == "full" and declared.track_deletes,
        "retry_limit": declared.retry_limit,
        "delete_guard": declared.delete_guard,
    }
    return context.model_copy(update={**own, **of_sync})
