"""The `webhook-delivery` workflow, and how other workflows start it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.webhooks import ATTEMPT_SECONDS, StartDeliveriesInput, WebhookActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import DeliveryInput
    from workflows.steps import run_step

__all__ = ["DeliverWebhook", "start_deliveries"]


@workflow.defn(name=WorkflowType.WEBHOOK_DELIVERY)
class DeliverWebhook:
    """Sends one webhook to one URL until the receiver takes it, or for as long as is set."""

    @workflow.run
    async def run(self, delivery: DeliveryInput) -> None:
        """Deliver the webhook.

        Raises:
            ActivityError: The receiver refused it, or did not take it in time.
        """
        try:
            await run_step(
                WebhookActivities.post_webhook,
                delivery,
                summary=f"POST {delivery.subject} to {delivery.host}",
                policy=policies.webhook_delivery(
                    timedelta(seconds=delivery.patience), ATTEMPT_SECONDS
                ),
                # A receiver that is down holds up nobody else's.
                priority=Priority(fairness_key=f"{delivery.environment}/{delivery.host}"[:64]),
            )
        except (ActivityError, asyncio.CancelledError):
            await run_step(
                WebhookActivities.give_up_webhook,
                delivery,
                summary=f"give up {delivery.subject} to {delivery.host}",
                policy=policies.BOOKKEEPING,
            )
            raise


async def start_deliveries(environment: str, ids: Sequence[str]) -> None:
    """Start the deliveries that a step has written; without any, nothing is scheduled.

    What they tell of has happened and does not fail for their sake.

    Args:
        environment: Name of their environment.
        ids: Their ids.
    """
    if not ids:
        return
    plural = "y" if len(ids) == 1 else "ies"
    try:
        await run_step(
            WebhookActivities.start_deliveries,
            StartDeliveriesInput(environment=environment, ids=list(ids)),
            summary=f"start {len(ids)} webhook deliver{plural}",
            policy=policies.BOOKKEEPING,
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        workflow.logger.error("webhook deliveries were not started", exc_info=error)
