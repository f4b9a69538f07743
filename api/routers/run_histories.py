"""Histories of runs, for whoever replays them or reads what they did."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from temporalio.client import WorkflowExecutionDescription

from activities.executions import execution_of
from api.dependencies import Caller, Deps
from api.open_history import HistoryTooLargeError, open_history
from api.run_views import view_run
from api.schemas.base import Answer
from api.schemas.runs import RunSummary
from api.schemas.timelines import TimelineView
from api.temporal import RPC_TIMEOUT, temporal_answers
from api.timeline import read_timeline
from perdure._version import __version__
from perdure.errors import InvalidInputError, NotFoundError
from perdure.ids import BundleHash
from perdure.temporal.external_storage import PayloadsGoneError

__all__ = ["router"]

_MOST_BYTES = 64 * 1024 * 1024

router = APIRouter(tags=["runs"])


class RunHistory(Answer):
    """The history of a run's newest execution, as Temporal's JSON has it."""

    run: RunSummary
    version: str = Field(description="Version of the server's Perdure.")
    workflow_id: str
    history: dict[str, Any]


@router.get("/runs/{run_id}/history")
async def get_run_history(deps: Deps, caller: Caller, run_id: str) -> RunHistory:
    """Return the history of a run, decoded; credentials in it are masked.

    The inputs of steps are left out: a replay does not look at them. Of a sync that has ended well
    what its steps returned is kept for a few days only (`payloads_gone`).
    """
    run = (await view_run(deps, await deps.database.runs.get(caller.id, run_id))).run
    async with temporal_answers():
        found = await execution_of(deps.temporal, run, RPC_TIMEOUT)
    if found is None:
        msg = f"Temporal does not know the run {run.id} any more."
        raise NotFoundError(msg, code="run_history_gone")
    client = deps.temporal
    handle = client.get_workflow_handle(run.workflow_id, run_id=found.run_id)
    async with temporal_answers():
        history = await handle.fetch_history(rpc_timeout=RPC_TIMEOUT)
    try:
        opened = await open_history(
            history, client.data_converter, client.namespace, most_bytes=_MOST_BYTES
        )
    except HistoryTooLargeError:
        msg = f"The run {run.id} holds more than {_MOST_BYTES // 2**20} MB; it cannot be replayed."
        raise InvalidInputError(msg, code="history_too_large") from None
    except PayloadsGoneError:
        msg = (
            f"What the steps of the run {run.id} returned is not kept any more, so it cannot be "
            "replayed. Payloads of syncs that have ended well are removed after "
            f"{deps.settings.payloads_days:g} days (PERDURE_PAYLOADS_DAYS)."
        )
        raise NotFoundError(msg, code="payloads_gone") from None
    summary = RunSummary.of(await view_run(deps, run), deps.settings)
    return RunHistory(
        run=summary,
        version=__version__,
        workflow_id=run.workflow_id,
        history=json.loads(opened.to_json()),
    )


@router.get("/runs/{run_id}/timeline")
async def get_run_timeline(
    deps: Deps,
    caller: Caller,
    run_id: str,
    *,
    whole: Annotated[
        bool, Query(alias="all", description="All steps instead of the newest ones.")
    ] = False,
) -> TimelineView:
    """Return what a run did step by step: requests, saves, waits and retries, with sentences."""
    run = await deps.database.runs.get(caller.id, run_id)
    async with temporal_answers():
        found = await execution_of(deps.temporal, run, RPC_TIMEOUT)
        if found is None:
            msg = f"Temporal does not know the run {run.id} any more."
            raise NotFoundError(msg, code="run_history_gone")
        timeline = await read_timeline(deps.temporal, found, whole=whole)
    return TimelineView.of(timeline, _first(found))


def _first(found: WorkflowExecutionDescription) -> str | None:
    first = found.raw_description.workflow_execution_info.first_run_id
    return first if first and first != found.run_id else None


class RunSource(Answer):
    """The file in which a run failed, as the run had it.

    Attributes:
        line: Number of the line, counted from 1; null where it is not known.
    """

    file: str
    line: int | None
    content: str


@router.get("/runs/{run_id}/source")
async def get_run_source(deps: Deps, caller: Caller, run_id: str) -> RunSource:
    """Return the file in which a run failed, with the line."""
    run = await deps.database.runs.get(caller.id, run_id)
    error = run.error or {}
    files = (await deps.bundles.get(BundleHash(run.bundle_hash))).files if run.bundle_hash else {}
    if error.get("file") not in files:
        msg = f"The run {run.id} did not fail in a file of its bundle."
        raise NotFoundError(msg, code="no_source")
    return RunSource(file=error["file"], line=error.get("line"), content=files[error["file"]])
