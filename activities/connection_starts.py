"""Starts the workflows of connections: one of each kind at a time for a connection."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from perdure.db.database import Database
from perdure.ids import ConnectionKey, connection_workflow_id
from perdure.temporal.names import TaskQueue, WorkflowType, search_attributes
from perdure.temporal.payloads import ConnectionInput

__all__ = ["start_awaited", "start_connection_workflow"]

_RPC_TIMEOUT = timedelta(seconds=10)


async def start_connection_workflow(
    client: Client, workflow: WorkflowType, target: ConnectionInput
) -> WorkflowHandle[Any, Any]:
    """Start a workflow for a connection, or join the one that is under way.

    Args:
        client: A client; its errors pass through.
        workflow: `CONNECTION_CREATE` or `CONNECTION_DELETE`.
        target: The connection.
    """
    names = (target.environment, target.integration, target.connection_id)
    return await client.start_workflow(
        workflow,
        target,
        id=connection_workflow_id(workflow, *names),
        task_queue=TaskQueue.ACTIONS,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"{target.integration} / {workflow} for {target.connection_id}"[:180],
        search_attributes=search_attributes(
            workflow,
            target.environment,
            integration=target.integration,
            connection_id=target.connection_id,
        ),
        rpc_timeout=_RPC_TIMEOUT,
    )


async def start_awaited(database: Database, client: Client, *, batch: int = 100) -> int:
    """Start the setups of connections whose process died between saving them and starting that.

    Args:
        database: Our own data.
        client: A client; its errors pass through.
        batch: How many are read at once.

    Returns:
        How many were started, those that were under way among them.
    """
    count, after = 0, ConnectionKey(0)
    while awaited := await database.lifecycle.awaited(after=after, limit=batch):
        for one in awaited:
            target = ConnectionInput(
                environment=one.environment,
                environment_id=one.environment_id,
                integration=one.integration,
                connection_id=one.connection_id,
                connection_key=one.key,
                operation="creation" if one.is_new else "override",
            )
            await start_connection_workflow(client, WorkflowType.CONNECTION_CREATE, target)
        count += len(awaited)
        after = awaited[-1].key
    return count
