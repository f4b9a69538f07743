"""Starts the workflow that carries out a delivery, from wherever that is decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from perdure.db.webhook_deliveries import Delivery, DeliveryStatus
from perdure.ids import delivery_workflow_id
from perdure.temporal.names import TaskQueue, WorkflowType, search_attributes
from perdure.temporal.payloads import DeliveryInput

__all__ = ["DeliveryStarter"]

_RPC_TIMEOUT = timedelta(seconds=10)


class DeliveryStarter:
    """Starts deliveries; each has one workflow, whose id follows from the row.

    Args:
        client: A client; its errors pass through.
        patience: How long a receiver that does not take a webhook is tried.
    """

    def __init__(self, client: Client, patience: timedelta) -> None:
        self._client = client
        self._patience = patience

    async def start(self, environment: str, deliveries: Sequence[Delivery]) -> None:
        """Start deliveries that are pending; those that were started before go on as they do.

        Args:
            environment: Name of their environment.
            deliveries: Any of its deliveries.
        """
        for delivery in deliveries:
            if delivery.status is DeliveryStatus.PENDING:
                await self._start(
                    environment,
                    delivery,
                    reuse=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    conflict=WorkflowIDConflictPolicy.USE_EXISTING,
                )

    async def restart(self, environment: str, delivery: Delivery) -> None:
        """Start a delivery from the beginning: its next attempt is due at once.

        Args:
            environment: Name of its environment.
            delivery: The delivery, as it was reopened.
        """
        await self._start(
            environment,
            delivery,
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            # One that is about to end would not see that the row is open again.
            conflict=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        )

    async def _start(
        self,
        environment: str,
        delivery: Delivery,
        *,
        reuse: WorkflowIDReusePolicy,
        conflict: WorkflowIDConflictPolicy,
    ) -> None:
        # The host alone: a URL may hold a key.
        host = urlsplit(delivery.goes_to or delivery.url).hostname or ""
        try:
            await self._client.start_workflow(
                WorkflowType.WEBHOOK_DELIVERY,
                DeliveryInput(
                    delivery_id=str(delivery.id),
                    environment=environment,
                    subject=delivery.subject,
                    host=host,
                    patience=self._patience.total_seconds(),
                    opening=delivery.opening,
                ),
                id=delivery_workflow_id(environment, str(delivery.id)),
                task_queue=TaskQueue.ACTIONS,
                id_reuse_policy=reuse,
                id_conflict_policy=conflict,
                static_summary=_summary(delivery, host)[:180],
                search_attributes=search_attributes(
                    WorkflowType.WEBHOOK_DELIVERY,
                    environment,
                    integration=delivery.integration,
                    connection_id=delivery.connection_id,
                ),
                rpc_timeout=_RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            # It has ended, and the row is about to say so.
            return


def _summary(delivery: Delivery, host: str) -> str:
    whom = f" for {delivery.connection_id}" if delivery.connection_id else ""
    what = f"{delivery.integration} / {delivery.subject}{whom}"
    return f"{what}: {delivery.type} webhook to {host}"
