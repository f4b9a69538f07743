"""Runs and their logs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from api.run_views import RunView, Waiting, temporal_url
from api.schemas.base import Answer, Body
from api.schemas.held_deletes import HeldDeletes
from config.settings import Settings
from perdure.clock import utcnow
from perdure.db.delete_tracks import DeleteTrack
from perdure.db.runs import RunStatus, StoredLogLine

__all__ = ["RetryBody", "RunDetail", "RunList", "RunSummary"]


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


class RecordCounts(Answer):
    """What a run did to the records of a model."""

    added: int
    updated: int
    deleted: int
    unchanged: int


class RunSummary(Answer):
    """A run.

    Attributes:
        duration_s: Seconds it took, or has taken so far.
        counts: What it did to records, by model.
        error: Why it failed: `type`, `message` and where known `file`, `line`, `traceback`.
        temporal_url: Its history in the Temporal UI.
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
        held_deletes: Deletions that it held back and that still wait for somebody's word.
    """

    logs: list[LogLineView]
    held_deletes: list[HeldDeletes]

    @classmethod
    def with_logs(
        cls,
        view: RunView,
        lines: Sequence[StoredLogLine],
        held: Sequence[DeleteTrack],
        settings: Settings,
    ) -> RunDetail:
        """Show a run with its log."""
        logs = [
            LogLineView(at=line.at, level=line.level, message=line.message, data=line.data)
            for line in lines
        ]
        return cls(**_facts(view, settings), logs=logs, held_deletes=HeldDeletes.of(held))


def _facts(view: RunView, settings: Settings) -> dict[str, Any]:
    run = view.run
    end = run.finished_at or utcnow()
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
        "waiting": _waiting(view.waiting),
        "dry_run": run.dry_run,
    }


def _waiting(waiting: Waiting | None) -> WaitingView | None:
    if waiting is None:
        return None
    return WaitingView(
        reason=waiting.reason, attempt=waiting.attempt, next_attempt_at=waiting.next_attempt_at
    )
