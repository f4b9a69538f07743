"""What is to be done about webhooks: looked up, begun, ended. All of it may be repeated."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError

from activities.bundles import BundleCache
from activities.erasure import Erasure
from activities.outcomes import Outcome, failed_outcome
from activities.run_counts import count_end
from activities.runs import RunStatus, log_level_of, run_start
from config.project import Sync
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.webhook_events import TaskInFull, TaskStatus
from perdure.errors import NotFoundError
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId, webhook_workflow_id
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import (
    HistoryLimits,
    Payload,
    RunContext,
    WebhookDispatchInput,
    WebhookInput,
)
from perdure.webhooks.incoming import IncomingWebhook

__all__ = [
    "DueWebhook",
    "DueWebhooks",
    "FinishWebhook",
    "LostWebhook",
    "StartWebhook",
    "StartedWebhook",
    "WebhookTaskActivities",
]

_AT_ONCE = 100


class DueWebhook(Payload):
    """A webhook that is to be handled.

    Attributes:
        is_pending: Whether nobody has begun with it.
        size: In bytes.
    """

    task_id: int
    sync: str
    integration: str
    type: str
    is_pending: bool = False
    size: int = 0


class DueWebhooks(Payload):
    """Webhooks of a connection that are to be handled, the oldest first."""

    tasks: list[DueWebhook]


class StartWebhook(Payload):
    """The handling of a webhook that begins.

    Attributes:
        run_id: Id of the run.
    """

    webhook: WebhookInput
    run_id: str
    started_at: datetime


class StartedWebhook(Payload):
    """What the handling of a webhook begins with; it is encrypted wherever it travels.

    Attributes:
        context: The run; None where there is nothing to do, since the connection is gone, or no
            such sync subscribes any more.
        payload: What the provider has sent, decoded.
    """

    context: RunContext | None = None
    payload: Any = None

    def holds_secret(self) -> bool:
        """See base class."""
        return True


class FinishWebhook(Payload):
    """The handling of a webhook that ends.

    Attributes:
        error: Why it failed, as `describe_failure` gives it.
    """

    task_id: int
    context: RunContext
    status: RunStatus
    error: dict[str, Any] | None = None


class LostWebhook(Payload):
    """The handling of a webhook that ended without a word of its own, as by its time limit."""

    task_id: int
    status: RunStatus
    error: dict[str, Any] | None = None


class WebhookTaskActivities:
    """Steps around the handling of webhooks.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        erasure: Clears away what a run leaves that a deploy has overtaken.
        client: Waits for workflows.
        history: How long a run's history may get.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        erasure: Erasure,
        client: Client,
        history: HistoryLimits,
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._erasure = erasure
        self._client = client
        self._history = history

    @activity.defn
    async def due_webhooks(self, connection: WebhookDispatchInput) -> DueWebhooks:
        """Return what is to be handled next for a connection."""
        key = ConnectionKey(connection.connection_key)
        return DueWebhooks(
            tasks=[
                DueWebhook(
                    task_id=due.id,
                    sync=due.sync,
                    integration=due.integration,
                    type=next(iter(due.types), "webhook"),
                    is_pending=due.is_pending,
                    size=due.size,
                )
                for due in await self._database.webhook_events.due(key, _AT_ONCE)
            ]
        )

    @activity.defn
    async def start_webhook(self, start: StartWebhook) -> StartedWebhook:
        """Note that a webhook is handled, by the sync as the active bundle has it.

        Raises:
            DecryptionError: The key ring cannot read the webhook.
        """
        events = self._database.webhook_events
        while True:
            task = await events.task(start.webhook.task_id)
            if task is None or (task.finished_at is not None and task.run_id != start.run_id):
                # An execution that handles several may have done it meanwhile.
                return StartedWebhook()
            context: RunContext | None
            if start.webhook.continued is not None:
                context = start.webhook.continued.context
            else:
                found = await self.context_of(
                    task, run_id=start.run_id, started_at=start.started_at
                )
                if found is None:
                    await events.end(task.id, TaskStatus.SKIPPED, finished_at=utcnow())
                    return StartedWebhook()
                context = await self._begun(task, found)
            if context is not None:
                payload = IncomingWebhook(task.headers, task.body).payload
                return StartedWebhook(context=context, payload=payload)

    @activity.defn
    async def finish_webhook(self, finish: FinishWebhook) -> None:
        """Note how the handling of a webhook ended; the locks that its run holds go with it."""
        context, ended_at = finish.context, utcnow()
        await self._erasure.erase_leftovers(context)
        async with self._database.transaction() as conn:
            await self._database.locks.release_all(context.run_id, conn=conn)
            await self._database.runs.moved(
                context.run_id, activity.info().workflow_run_id or context.run_id, conn=conn
            )
            end = await self._database.runs.finish(
                context.run_id, finish.status, finished_at=ended_at, error=finish.error, conn=conn
            )
            await self._database.webhook_events.end(
                finish.task_id,
                TaskStatus(finish.status),
                finished_at=ended_at,
                error=finish.error,
                conn=conn,
            )
        count_end(end)

    @activity.defn
    async def lose_webhook(self, lost: LostWebhook) -> None:
        """Note how a webhook's handling ended, where it did not do so itself."""
        await self._note(lost.task_id, Outcome(lost.status, lost.error))

    @activity.defn
    async def lost_webhook(self, webhook: WebhookInput) -> None:
        """Wait for the handling that somebody else has begun, and note how it ended."""
        workflow_id = webhook_workflow_id(webhook.environment, webhook.task_id)
        try:
            await self._client.get_workflow_handle(workflow_id).result()
        except WorkflowFailureError as error:
            await self._note(webhook.task_id, failed_outcome(error))

    async def _note(self, task_id: int, outcome: Outcome) -> None:
        ended_at, end = utcnow(), None
        async with self._database.transaction() as conn:
            run_id = await self._database.webhook_events.end_open(
                task_id,
                TaskStatus(outcome.status),
                finished_at=ended_at,
                error=outcome.error,
                conn=conn,
            )
            if run_id is not None:
                await self._database.locks.release_all(run_id, conn=conn)
                end = await self._database.runs.finish(
                    run_id, outcome.status, finished_at=ended_at, error=outcome.error, conn=conn
                )
        count_end(end)

    async def _begun(self, task: TaskInFull, context: RunContext) -> RunContext | None:
        """Note the beginning; None where a deploy, a deletion or another run came in between."""
        key = ConnectionKey(context.connection_key)
        environment_id = EnvironmentId(context.environment_id)
        async with self._database.transaction() as conn:
            # A deploy comes either before, and is heeded, or after, and finds the run.
            held = await self._database.environments.hold_bundle(environment_id, conn=conn)
            if held != context.bundle:
                return None
            if not await self._database.lifecycle.hold(key, conn=conn):
                return None
            if not await self._database.webhook_events.begin(task.id, context.run_id, conn=conn):
                return None
            row = await self._database.syncs.ensure(key, context.script, conn=conn)
            context = context.model_copy(update={"sync_id": str(row.id)})
            await self._database.runs.start(run_start(context), conn=conn)
        return context

    async def context_of(
        self, task: TaskInFull, *, run_id: str, started_at: datetime
    ) -> RunContext | None:
        """Return what the run of a task begins with, None where connection or sync are gone.

        Args:
            task: What is to be done.
            run_id: Id of the run.
            started_at: When it started.
        """
        try:
            connection = await self._database.connections.by_key(task.connection_key)
            environment = await self._database.environments.by_id(task.environment_id)
        except NotFoundError:
            return None
        declared = await self._declared(environment, task)
        if connection.deleting_since is not None:
            return None
        if declared is None or environment.active_bundle is None:
            return None
        return RunContext(
            run_id=run_id,
            workflow_id=activity.info().workflow_id or "",
            started_at=started_at,
            environment=environment.name,
            environment_id=environment.id,
            integration=connection.integration,
            provider=connection.provider,
            connection_id=connection.connection_id,
            connection_key=connection.key,
            kind=WorkflowType.WEBHOOK,
            script=task.sync,
            bundle=environment.active_bundle,
            models=declared.output,
            validation=environment.validation,
            log_level=await log_level_of(self._database, environment.id),
            history=self._history,
        )

    async def _declared(self, environment: Environment, task: TaskInFull) -> Sync | None:
        if environment.active_bundle is None:
            return None
        config = await self._bundles.config(BundleHash(environment.active_bundle))
        integration = config.integration(task.integration)
        declared = integration.sync(task.sync) if integration else None
        # One that subscribes to nothing any more has no handler either.
        return declared if declared and declared.webhook_subscriptions else None
