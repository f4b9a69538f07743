"""Ends workflows: asks first, and does not wait for ever."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

__all__ = ["end_workflow"]

# A run stops within seconds; one that does not is not waited for any longer than this.
_PATIENCE = timedelta(seconds=10)
_RPC_TIMEOUT = timedelta(seconds=10)


async def end_workflow(
    client: Client, workflow_id: str, reason: str, *, first_run_id: str | None = None
) -> None:
    """Cancel a workflow, or terminate it where it does not stop; one that has ended is fine.

    Args:
        client: A client; its errors pass through.
        workflow_id: Its id.
        reason: Why it is terminated.
        first_run_id: Run id of its first execution, None for whichever is under way.
    """
    handle = client.get_workflow_handle(workflow_id, first_execution_run_id=first_run_id)
    try:
        await handle.cancel(rpc_timeout=_RPC_TIMEOUT)
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                await handle.result()
        except TimeoutError:
            await handle.terminate(reason, rpc_timeout=_RPC_TIMEOUT)
    except WorkflowFailureError:
        pass
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
