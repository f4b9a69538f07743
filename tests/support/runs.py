"""Runs that nobody executes, for steps that are tried by themselves."""

from __future__ import annotations

from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.runs import RunStart
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import RunContext
from tests.support.stack import Stack


async def a_run(stack: Stack, connection: Connection) -> RunContext:
    """Note a run of a sync as begun."""
    context = RunContext(
        run_id=f"run-{connection.key}",
        workflow_id=f"sync-{connection.key}",
        started_at=utcnow(),
        environment=stack.environment.name,
        environment_id=stack.environment.id,
        integration="tracker",
        provider="generic-api-key",
        connection_id="acme",
        connection_key=connection.key,
        kind=WorkflowType.SYNC,
        script="issues",
    )
    await stack.container.database.runs.start(
        RunStart(
            id=context.run_id,
            workflow_id=context.workflow_id,
            environment_id=stack.environment.id,
            kind=context.kind,
            script=context.script,
            started_at=context.started_at,
            connection_key=connection.key,
        )
    )
    return context
