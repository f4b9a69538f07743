"""Runs and their logs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from api.run_progress import SeenProgress
from api.run_views import RunView, Waiting, temporal_url
from api.schemas.base import Answer, Body
from api.schemas.held_deletes import HeldDeletes
from config.settings import Settings
from perdure.clock import utcnow
from perdure.db.delete_tracks import DeleteTrack
from perdure.db.runs import RunStatus, StoredLogLine
from perdure.ids import action_id_of
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import RunProgress

__all__ = ["RetryBody", "RunDetail", "RunList", "RunSummary", "WaitingView"]


class RetryBody(Body):
    """How a run goes on.

    Attributes:
        bundle: `own` is the bundle that the run is pinned to, `active` the one that is deployed
            now: the way to go on after a mended script.
    """

    bundle: Literal["own", "active"] = "own"


class WaitingView(Answer):
    """Why a run makes no progress at present; see `api.run_views.Waiting`."""

    reason: str
    attempt: int
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, waiting: Waiting | None) -> WaitingView | None:
        """Show it, None where nothing is waited for."""
        if waiting is None:
            return None
        return cls(
            reason=waiting.reason, attempt=waiting.attempt, next_attempt_at=waiting.next_attempt_at
        )


class RecordCounts(Answer):
    """What a run did to the records of a model."""

    added: int
    updated: int
    deleted: int
    unchanged: int


class ProgressView(Answer):
    """How far a run is; see `perdure.temporal.payloads.RunProgress`."""

    pages: int
    requests: int
    cursor: str | None
    items: int
    items_done: int
    items_failed: int

    @classmethod
    def of(cls, progress: RunProgress | None) -> ProgressView | None:
        """Show progress, None where nobody tells it."""
        if progress is None:
            return None
        return cls(**progress.model_dump(include=set(cls.model_fields)))


class HistoryView(Answer):
    """How long the history of a run's present execution is."""

    events: int
    bytes: int


class RunSummary(Answer):
    """A run.

    Attributes:
        duration_s: Seconds it took, or has taken so far.
        counts: What it did to records, by model.
        error: Why it failed: `type`, `message` and where known `file`, `line`, `traceback`.
        temporal_url: Its history in the Temporal UI.
        action_id: By which the result of an action is read, None for other runs and dry ones.
        waiting: Why it makes no progress at present, None where it does.
        dry_run: Whether it only shows what it would do.
    """

    id: str
    workflow_id: str
    kind: str
    integration: str | None
    connection_id: str | None
    script: str
    variant: str
    bundle: str | None
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    duration_s: float
    counts: dict[str, RecordCounts]
    error: dict[str, Any] | None
    temporal_url: str | None
    action_id: str | None
    waiting: WaitingView | None
    dry_run: bool

    @classmethod
    def of(cls, view: RunView, settings: Settings) -> RunSummary:
        """Show a run."""
        return cls(**_facts(view, settings))


class RunList(Answer):
    """Runs, newest first."""

    runs: list[RunSummary]
    next_cursor: str | None


class LogLineView(Answer):
    """A line of a run's log."""

    at: datetime
    level: str
    message: str
    data: Any


class RunDetail(RunSummary):
    """A run with its log.

    Attributes:
        progress: How far it is, None where it has ended or no worker tells.
        history: Of a run that is under way, where Temporal tells.
        checkpoints: `from` and `to`, the checkpoint it found and the one it left; None where it
            used none.
        next_run_at: When its sync runs next, None where nothing is scheduled.
        held_deletes: Deletions that it held back and that still wait for somebody's word.
    """

    progress: ProgressView | None
    history: HistoryView | None
    checkpoints: dict[str, Any] | None
    next_run_at: datetime | None
    logs: list[LogLineView]
    held_deletes: list[HeldDeletes]

    @classmethod
    def with_logs(
        cls,
        seen: SeenProgress,
        lines: Sequence[StoredLogLine],
        held: Sequence[DeleteTrack],
        settings: Settings,
        next_run_at: datetime | None,
    ) -> RunDetail:
        """Show a run with its log."""
        logs = [
            LogLineView(at=line.at, level=line.level, message=line.message, data=line.data)
            for line in lines
        ]
        return cls(
            **_facts(seen.view, settings),
            progress=ProgressView.of(seen.progress),
            history=_history(seen.view),
            checkpoints=seen.view.run.checkpoints,
            next_run_at=next_run_at,
            logs=logs,
            held_deletes=HeldDeletes.of(held),
        )


def _history(view: RunView) -> HistoryView | None:
    if view.execution is None:
        return None
    info = view.execution.raw_description.workflow_execution_info
    return HistoryView(events=info.history_length, bytes=info.history_size_bytes)


def _facts(view: RunView, settings: Settings) -> dict[str, Any]:
    run = view.run
    end = run.finished_at or utcnow()
    is_call = run.kind == WorkflowType.ACTION and not run.dry_run
    return {
        "id": run.id,
        "workflow_id": run.workflow_id,
        "kind": run.kind,
        "integration": run.integration,
        "connection_id": run.connection_id,
        "script": run.script,
        "variant": run.variant,
        "bundle": run.bundle_hash,
        "status": run.status,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "duration_s": round(max(0.0, (end - run.started_at).total_seconds()), 3),
        "counts": {model: RecordCounts(**counts) for model, counts in run.counts.items()},
        "error": run.error,
        "temporal_url": temporal_url(settings, run),
        "waiting": WaitingView.of(view.waiting),
        "dry_run": run.dry_run,
        "action_id": action_id_of(run.workflow_id) if is_call else None,
    }
