"""Whose turn it is among asynchronous actions: they are let in, and told by a signal.

Who is let in stands in the database first and is told afterwards. An action that no signal
reaches asks again by itself after a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from perdure.db.database import Database
from perdure.ids import EnvironmentId
from perdure.temporal.names import TURN_SIGNAL

__all__ = ["let_in", "tell_turn"]

_RPC_TIMEOUT = timedelta(seconds=10)


async def let_in(
    database: Database, client: Client, environment_id: EnvironmentId, left: Sequence[str] = ()
) -> None:
    """Let in whoever may run now, and tell them.

    Args:
        database: Our own data.
        client: Sends the signals.
        environment_id: Where.
        left: Workflows that have ended without passing their turn on.
    """
    gone = list(left)
    while True:
        async with database.transaction() as conn:
            if gone:
                await database.action_queue.leave(environment_id, gone, conn=conn)
            limits = await database.actions.limits(environment_id, conn=conn)
            admitted = await database.action_queue.admit(environment_id, limits, conn=conn)
        gone = [workflow_id for workflow_id in admitted if not await tell_turn(client, workflow_id)]
        if not gone:
            return


async def tell_turn(client: Client, workflow_id: str) -> bool:
    """Tell an action that it has its turn; returns whether it is there to hear it."""
    try:
        await client.get_workflow_handle(workflow_id).signal(TURN_SIGNAL, rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
