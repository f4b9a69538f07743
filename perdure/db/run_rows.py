"""Runs as they are kept: what is known at their start, how they stand, how they ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import asyncpg

from perdure.db.record_batches import ModelCounts
from perdure.ids import BASE_VARIANT, ConnectionKey, EnvironmentId
from perdure.records.canonical import JsonObject

__all__ = ["EndedRun", "Run", "RunEnd", "RunStart", "RunStatus", "end_of", "run_of"]


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is known of a run when it starts.

    Attributes:
        id: Run id in Temporal.
        workflow_id: Workflow id in Temporal.
        environment_id: Where it belongs.
        kind: Workflow type: `sync`, `action`, `on-event`, `webhook`, ...
        script: Name of the script.
        started_at: When it started.
        integration: Key of the integration, None where it has none.
        connection_id: Name of the connection, None where it has none.
        connection_key: Row id of the connection, None where it has none, or only looks what it
            would do: such a run counts for no sync.
        variant: Variant of the sync.
        bundle_hash: The bundle the run is pinned to, None where it executes no script.
        dry_run: Whether it only shows what it would do.
    """

    id: str
    workflow_id: str
    environment_id: EnvironmentId
    kind: str
    script: str
    started_at: datetime
    integration: str | None = None
    connection_id: str | None = None
    connection_key: ConnectionKey | None = None
    variant: str = BASE_VARIANT
    bundle_hash: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that is noted when it has ended well.

    Attributes:
        start: The run as it began.
        counts: What it did to records, by model.
    """

    start: RunStart
    counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run that has just ended.

    Attributes:
        environment: Name of its environment.
        dry_run: Whether it only showed what it would do.
    """

    environment: str
    integration: str | None
    kind: str
    script: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands; the fields that `RunStart` has mean the same here.

    Attributes:
        status: How it stands.
        finished_at: When it ended, None while it runs.
        counts: What it did to records so far, by model.
        error: Why it failed, as a JSON object; None where it did not.
        temporal_run_id: Run id in Temporal: another one than `id` once the run continued as new
            or was reset.
        checkpoints: `from` and `to`, the checkpoint it found and the one it left; None where it
            used none.
    """

    id: str
    workflow_id: str
    environment_id: EnvironmentId
    kind: str
    integration: str | None
    connection_id: str | None
    connection_key: ConnectionKey | None
    script: str
    variant: str
    bundle_hash: str | None
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    counts: dict[str, ModelCounts]
    error: JsonObject | None
    temporal_run_id: str
    checkpoints: JsonObject | None
    dry_run: bool


def run_of(row: asyncpg.Record) -> Run:
    """Return the run of a row that has its columns, and maybe others."""
    fields = {name: row[name] for name in Run.__slots__}
    fields["status"] = RunStatus(fields["status"])
    fields["error"] = _decoded(fields["error"])
    fields["checkpoints"] = _decoded(fields["checkpoints"])
    return Run(**fields)


def end_of(row: asyncpg.Record | None) -> RunEnd | None:
    """Return the end that a statement has just noted, None where it noted none."""
    if row is None:
        return None
    environment, integration, kind, script, status, started_at, finished_at, dry_run = row
    return RunEnd(
        environment,
        integration,
        kind,
        script,
        RunStatus(status),
        started_at,
        finished_at,
        dry_run,
    )


def _decoded(data: bytes | None) -> Any:
    return None if data is None else json.loads(data)
