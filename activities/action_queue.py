"""Asynchronous actions: they wait for their turn, and pass it on when they end."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.action_turns import let_in
from activities.run_counts import count_end
from activities.runs import FinishRunInput, run_start
from activities.webhook_outbox import WebhookOutbox
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.temporal.payloads import Payload, RunContext

__all__ = ["ActionQueueActivities", "EndedAction", "TurnInput", "TurnTaken"]

# A holder that was ended by force is found out after this long, by whoever waits.
_SUSPECT_AFTER = timedelta(minutes=1)
_RPC_TIMEOUT = timedelta(seconds=10)


class TurnInput(Payload):
    """An action that asks for its turn.

    Attributes:
        ordered: Whether it waits until the connection's earlier ordered ones have ended.
        again: Whether it has waited for long without hearing anything.
    """

    context: RunContext
    ordered: bool = False
    again: bool = False


class TurnTaken(Payload):
    """Whether the action may run now."""

    admitted: bool


class EndedAction(Payload):
    """An asynchronous action that has ended.

    Attributes:
        deliveries: Ids of the webhooks that tell of it and are to be started.
    """

    deliveries: list[str] = []


class ActionQueueActivities:
    """Steps at the edges of an asynchronous action. All of them may be repeated.

    Args:
        database: Our own data.
        client: Tells others that they have their turn.
    """

    def __init__(self, database: Database, client: Client) -> None:
        self._database = database
        self._client = client
        self._outbox = WebhookOutbox(database)

    @activity.defn
    async def take_turn(self, turn: TurnInput) -> TurnTaken:
        """Note that an action began, and say whether it may run."""
        context, queue = turn.context, self._database.action_queue
        environment_id = EnvironmentId(context.environment_id)
        async with self._database.transaction() as conn:
            await self._database.runs.start(run_start(context), conn=conn)
            await queue.enter(
                context.workflow_id,
                environment_id,
                ConnectionKey(context.connection_key),
                ordered=turn.ordered,
                conn=conn,
            )
        gone = await self._ended_by_force(environment_id) if turn.again else []
        await let_in(self._database, self._client, environment_id, gone)
        return TurnTaken(admitted=await queue.has_turn(context.workflow_id))

    @activity.defn
    async def end_action(self, finish: FinishRunInput) -> EndedAction:
        """Note how an action ended, write what is to be told of it, and pass its turn on."""
        context = finish.context
        environment_id = EnvironmentId(context.environment_id)
        run = run_start(context)
        async with self._database.transaction() as conn:
            # One that was cancelled may not have come to note that it began.
            await self._database.runs.start(run, conn=conn)
            await self._database.runs.moved(
                run.id, activity.info().workflow_run_id or run.id, conn=conn
            )
            end = await self._database.runs.finish(
                context.run_id,
                finish.status,
                finished_at=utcnow(),
                error=finish.error,
                conn=conn,
            )
            # What was told by whoever settled it is not told again.
            told = await (
                self._outbox.action_ended(run, conn=conn)
                if end
                else self._outbox.written(environment_id, conn=conn)
            )
        count_end(end)
        await let_in(self._database, self._client, environment_id, [context.workflow_id])
        return EndedAction(deliveries=[str(delivery) for delivery in told])

    async def _ended_by_force(self, environment_id: EnvironmentId) -> list[str]:
        holders = await self._database.action_queue.holders(environment_id, _SUSPECT_AFTER)
        return [workflow_id for workflow_id in holders if not await self._runs(workflow_id)]

    async def _runs(self, workflow_id: str) -> bool:
        try:
            found = await self._client.get_workflow_handle(workflow_id).describe(
                rpc_timeout=_RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return found.status is WorkflowExecutionStatus.RUNNING
