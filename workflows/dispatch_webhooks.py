"""The `webhook-dispatch` workflow: the webhooks of one connection, handled one after the other."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.outcomes import failed_outcome
    from activities.webhook_tasks import DueWebhook, LostWebhook, WebhookTaskActivities
    from perdure.ids import webhook_workflow_id, webhooks_workflow_id
    from perdure.temporal import policies
    from perdure.temporal.names import LOOK_AGAIN, WorkflowType, search_attributes
    from perdure.temporal.payloads import WebhookDispatchInput, WebhookInput, WebhookResult
    from workflows.run_webhook import RunWebhook
    from workflows.steps import run_at_once, run_step, shortened
    from workflows.supervision import stop_if_cancelled

__all__ = ["DispatchWebhooks"]

_PATCH = "webhooks-together"
# What several webhooks say stands in one history.
_LARGEST = 16 * 1024
_LARGEST_TOGETHER = 64 * 1024


@workflow.defn(name=WorkflowType.WEBHOOK_DISPATCH)
class DispatchWebhooks:
    """Has webhooks handled by child workflows; one that fails holds up nobody.

    Where several wait, one child handles as many of them as it can, and the one at which it ended
    gets a child of its own.

    What is to be done stands in the database. So this may be ended at any time: whoever starts it
    again goes on with what is left.
    """

    def __init__(self) -> None:
        self._look_again = False
        # Syncs whose scripts ask for more than those have that handle several at once.
        self._one_by_one: set[str] = set()

    @workflow.signal(name=LOOK_AGAIN)
    def look_again(self) -> None:
        """Say that there is more to do."""
        self._look_again = True

    @workflow.run
    async def run(self, connection: WebhookDispatchInput) -> None:
        """Handle webhooks until there are none."""
        done = 0
        while True:
            self._look_again = False
            due = await run_at_once(
                WebhookTaskActivities.due_webhooks,
                connection,
                summary=f"webhooks of {connection.integration} for {connection.connection_id}",
            )
            tasks = due.tasks
            while tasks:
                handled = await self._handle_together(connection, tasks)
                tasks, done = tasks[handled:], done + handled
                if tasks:
                    await _handle(connection, tasks[0])
                    tasks, done = tasks[1:], done + 1
                if _is_long(connection, done):
                    workflow.continue_as_new(connection)
            if not due.tasks and not self._look_again:
                return

    async def _handle_together(
        self, connection: WebhookDispatchInput, tasks: list[DueWebhook]
    ) -> int:
        """Have the first of the webhooks handled in one execution; returns how many were."""
        together = self._together(tasks)
        if len(together) < 2 or not workflow.patched(_PATCH):
            return 0
        first = together[0]
        whom = f"{first.integration} / {first.sync} for {connection.connection_id}"
        try:
            result = await workflow.execute_child_workflow(
                RunWebhook.run,
                WebhookInput(
                    task_id=first.task_id,
                    environment=connection.environment,
                    sync=first.sync,
                    connection_id=connection.connection_id,
                    together=tuple(task.task_id for task in together[1:]),
                ),
                id=webhooks_workflow_id(
                    connection.environment, first.task_id, together[-1].task_id
                ),
                execution_timeout=policies.WEBHOOK_LIMIT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=shortened(f"{whom}: {len(together)} webhooks"),
                search_attributes=search_attributes(
                    WorkflowType.WEBHOOK,
                    connection.environment,
                    integration=first.integration,
                    connection_id=connection.connection_id,
                    script=first.sync,
                ),
            )
        except WorkflowAlreadyStartedError:
            # Left by a former execution of this workflow; whoever begins with a webhook has it.
            result = None
        except ChildWorkflowError:
            await stop_if_cancelled()
            result = None
        if result is None:
            result = WebhookResult(asks_for_more=True)
        if result.asks_for_more:
            self._one_by_one.add(first.sync)
        return result.count

    def _together(self, tasks: list[DueWebhook]) -> list[DueWebhook]:
        """Return the webhooks that may be handled in one execution, from the first on."""
        found: list[DueWebhook] = []
        size = 0
        for task in tasks:
            size += task.size
            if (
                task.sync != tasks[0].sync
                or task.sync in self._one_by_one
                or not task.is_pending
                or task.size > _LARGEST
                or size > _LARGEST_TOGETHER
            ):
                break
            found.append(task)
        return found


def _is_long(connection: WebhookDispatchInput, done: int) -> bool:
    if connection.tasks_per_run is not None:
        return done >= connection.tasks_per_run
    return workflow.info().is_continue_as_new_suggested()


async def _handle(connection: WebhookDispatchInput, task: DueWebhook) -> None:
    webhook = WebhookInput(
        task_id=task.task_id,
        environment=connection.environment,
        sync=task.sync,
        connection_id=connection.connection_id,
    )
    what = f"{task.integration} / {task.sync} for {connection.connection_id}: {task.type}"
    try:
        await workflow.execute_child_workflow(
            RunWebhook.run,
            webhook,
            id=webhook_workflow_id(connection.environment, task.task_id),
            execution_timeout=policies.WEBHOOK_LIMIT,
            # It is begun once: who finds it begun, waits for it.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=shortened(what),
            search_attributes=search_attributes(
                WorkflowType.WEBHOOK,
                connection.environment,
                integration=task.integration,
                connection_id=connection.connection_id,
                script=task.sync,
            ),
        )
    except WorkflowAlreadyStartedError:
        # A former execution of this workflow has begun with it and was ended by force.
        await run_step(
            WebhookTaskActivities.lost_webhook,
            webhook,
            summary=f"wait for {what}",
            policy=policies.OTHER_WORKFLOW,
        )
    except ChildWorkflowError as error:
        await stop_if_cancelled()
        outcome = failed_outcome(error)
        await run_at_once(
            WebhookTaskActivities.lose_webhook,
            LostWebhook(
                task_id=task.task_id,
                status=outcome.status,
                error=dict(outcome.error) if outcome.error else None,
            ),
            summary=f"{task.sync} ended: {outcome.status}",
        )
