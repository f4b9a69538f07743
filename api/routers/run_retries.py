"""Retrying a run: it goes on at the step that failed."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from activities.retries import RetriedRun, RetryInput
from api.dependencies import Caller, Dependencies, Deps
from api.errors import ApiError
from api.run_views import view_run
from api.schemas.runs import RetryBody, RunSummary
from api.temporal import settled, start_workflow
from perdure.db.environments import Environment
from perdure.db.runs import Run, RunStatus
from perdure.errors import ConflictError, NotFoundError, UnavailableError
from perdure.temporal.names import WorkflowType, search_attributes

__all__ = ["router"]

# A long history is read and replayed before it is reset.
_PATIENCE = timedelta(minutes=2)
_RETRIED = (
    WorkflowType.SYNC,
    WorkflowType.ACTION,
    WorkflowType.ON_EVENT,
    WorkflowType.WEBHOOK,
)
_NOT_FOUND = frozenset({"run_history_gone", "script_not_found", "unknown_run"})
_CONFLICTS = frozenset(
    {
        "bundle_does_not_fit",
        "history_full",
        "run_not_begun",
        "run_not_ended",
        "run_succeeded",
        "run_superseded",
    }
)

router = APIRouter(tags=["runs"])


@router.post("/runs/{run_id}/retry")
async def retry_run(
    deps: Deps, caller: Caller, run_id: str, body: RetryBody | None = None
) -> RunSummary:
    """Let a run that ended without success go on at the step that failed."""
    run = await deps.database.runs.get(caller.id, run_id)
    _refuse_what_needs_no_retry((await view_run(deps, run)).run)
    bundle = caller.active_bundle if body and body.bundle == "active" else None
    handle = await start_workflow(
        deps.temporal,
        WorkflowType.RETRY,
        RetryInput(environment_id=caller.id, run_id=run.id, bundle=bundle),
        workflow_id=f"{WorkflowType.RETRY}/{caller.name}/{run.id}",
        summary=f"retry {run.integration} / {run.script} for {run.connection_id}",
        attributes=search_attributes(
            WorkflowType.RETRY,
            caller.name,
            integration=run.integration,
            connection_id=run.connection_id,
            script=run.script,
        ),
        result_type=RetriedRun,
    )
    try:
        retried = await settled(handle, _PATIENCE)
    except ApiError as error:
        if error.code in _CONFLICTS:
            raise ConflictError(error.message, code=error.code) from error
        if error.code in _NOT_FOUND:
            raise NotFoundError(error.message, code=error.code) from error
        raise
    if retried is None:
        msg = f"The retry of the run {run.id} was begun but takes long; look at the run again."
        raise UnavailableError(msg, code="retry_under_way")
    return await _summary(deps, caller, run.id)


def _refuse_what_needs_no_retry(run: Run) -> None:
    if run.kind not in _RETRIED:
        msg = f"Runs of the kind {run.kind!r} cannot be retried."
        raise ConflictError(msg, code="run_not_retryable")
    if run.dry_run:
        msg = f"The run {run.id} is a dry run; make another one instead."
        raise ConflictError(msg, code="run_not_retryable")
    if run.status is RunStatus.RUNNING:
        msg = f"The run {run.id} has not ended."
        raise ConflictError(msg, code="run_not_ended")
    if run.status is RunStatus.SUCCESS:
        msg = f"The run {run.id} has succeeded; there is nothing to retry."
        raise ConflictError(msg, code="run_succeeded")


async def _summary(deps: Dependencies, caller: Environment, run_id: str) -> RunSummary:
    run = await deps.database.runs.get(caller.id, run_id)
    return RunSummary.of(await view_run(deps, run), deps.settings)
