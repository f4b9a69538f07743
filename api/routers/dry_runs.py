"""Dry runs: a project's script is run for a connection, and nothing of ours changes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from temporalio.client import WorkflowHandle

from activities.bundles import script_files
from activities.runs import run_start
from api.dependencies import Caller, Dependencies, Deps
from api.dry_runs import context_of
from api.routers.runs import detail_of
from api.schemas.dry_runs import DryRunStarted, DryRunView, NewDryRun
from api.temporal import RPC_TIMEOUT, start_workflow, temporal_answers
from config.compile import compile_project
from config.script_lookup import FoundScript, find_script
from perdure.db.runs import Run, RunStatus
from perdure.errors import NotFoundError
from perdure.ids import BundleHash
from perdure.scripts.bundle import ScriptKind, ScriptPlaces
from perdure.temporal.names import TaskQueue, WorkflowType, search_attributes
from perdure.temporal.payloads import (
    ActionInput,
    ActionResult,
    ContinuedRun,
    EventInput,
    HistoryLimits,
    RunContext,
    RunState,
    SyncInput,
    SyncResult,
)

__all__ = ["router"]

router = APIRouter(tags=["dry-runs"])


@router.post("/dry-runs")
async def start_dry_run(deps: Deps, caller: Caller, body: NewDryRun) -> DryRunStarted:
    """Run a script of a project without deploying it, and without changing anything of ours.

    What the script sends to the external API is sent.
    """
    compiled = compile_project(body.files)
    project = compiled.project
    tried = find_script(project.config, ScriptPlaces(project.files), body.script, body.integration)
    connection = await deps.database.connections.get(
        caller.id, tried.integration, body.connection_id
    )
    connection.refuse_deleting()
    await deps.database.bundles.put(project.hash, project.files, project.config.to_json())
    context = context_of(
        body,
        tried,
        environment=caller,
        connection=connection,
        bundle=project.hash,
        history=HistoryLimits(max_events=deps.settings.temporal_history_events),
    )
    state = RunState(
        checkpoint=body.checkpoint,
        metadata=body.metadata,
        resumes=body.checkpoint is not None,
    )
    handle = await _start(deps, context, state, tried, value=body.input)
    run_id = handle.result_run_id or ""
    # Whoever asks for it finds it, even before a worker takes it up.
    await deps.database.runs.start(run_start(context.model_copy(update={"run_id": run_id})))
    return DryRunStarted(
        run_id=run_id,
        kind=context.kind,
        integration=tried.integration,
        script=tried.name,
        path=tried.path,
        bundle=project.hash,
        warnings=[*compiled.warnings],
    )


@router.get("/dry-runs/{run_id}")
async def get_dry_run(deps: Deps, caller: Caller, run_id: str) -> DryRunView:
    """Return how a dry run stands, and what it would have done."""
    run = await deps.database.runs.get(caller.id, run_id)
    if not run.dry_run:
        msg = f"The run {run_id} is no dry run; `GET /runs/{run_id}` tells of it."
        raise NotFoundError(msg, code="unknown_dry_run")
    detail = await detail_of(deps, caller, run_id)
    found = await deps.database.dry_runs.get(run_id)
    report = (found.report if found else None) or {}
    fixture = found.fixture if found else None
    output = None
    if run.kind == WorkflowType.ACTION and detail.status is RunStatus.SUCCESS:
        result = await _result(deps, run)
        output = result.output
        if fixture is not None and not result.sealed:
            fixture = {"output": output, **fixture}
    return DryRunView(
        run=detail,
        records=report.get("records"),
        checkpoint=report.get("checkpoint"),
        metadata=report.get("metadata"),
        output=output,
        fixture=fixture,
        fixture_refused=report.get("fixture_refused"),
    )


async def _start(
    deps: Dependencies, context: RunContext, state: RunState, tried: FoundScript, *, value: Any
) -> WorkflowHandle[Any, Any]:
    summary = f"dry run: {tried.integration} / {tried.name} for {context.connection_id}"
    attributes = search_attributes(
        WorkflowType(context.kind),
        context.environment,
        integration=tried.integration,
        connection_id=context.connection_id,
        script=tried.name,
        bundle=context.bundle,
    )
    if tried.kind is ScriptKind.SYNC:
        sync = SyncInput(
            environment=context.environment,
            environment_id=context.environment_id,
            integration=tried.integration,
            connection_id=context.connection_id,
            connection_key=context.connection_key,
            sync=tried.name,
            variant=context.variant,
            dry_run=ContinuedRun(context=context, state=state),
        )
        return await start_workflow(
            deps.temporal,
            WorkflowType.SYNC,
            sync,
            workflow_id=context.workflow_id,
            summary=summary,
            attributes=attributes,
            result_type=SyncResult,
            queue=TaskQueue.SYNCS,
        )
    if tried.kind is ScriptKind.ON_EVENT:
        hook = EventInput(
            context=context,
            event=tried.named.event or "",
            limit=deps.settings.hook_limit_seconds,
            older=tried.named.is_older,
            state=state,
        )
        return await start_workflow(
            deps.temporal,
            WorkflowType.ON_EVENT,
            hook,
            workflow_id=context.workflow_id,
            summary=summary,
            attributes=attributes,
        )
    stored = await deps.bundles.get(BundleHash(context.bundle))
    return await start_workflow(
        deps.temporal,
        WorkflowType.ACTION,
        ActionInput(context=context, input=value, keeps_record=True, state=state),
        script_files(stored, tried.integration, ScriptKind.ACTION, tried.name),
        workflow_id=context.workflow_id,
        summary=summary,
        attributes=attributes,
        result_type=ActionResult,
    )


async def _result(deps: Dependencies, run: Run) -> ActionResult:
    handle = deps.temporal.get_workflow_handle(
        run.workflow_id, run_id=run.temporal_run_id, result_type=ActionResult
    )
    async with temporal_answers():
        result: ActionResult = await handle.result(rpc_timeout=RPC_TIMEOUT)
    return result
