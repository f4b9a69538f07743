"""The context of a run that nobody executes, for what travels with one."""

from __future__ import annotations

from datetime import UTC, datetime

from perdure.temporal.payloads import RunContext

__all__ = ["CONTEXT"]

CONTEXT = RunContext(
    run_id="r",
    workflow_id="w",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    environment="dev",
    environment_id=1,
    integration="tracker",
    provider="p",
    connection_id="acme",
    connection_key=1,
    kind="sync",
    script="issues",
)
