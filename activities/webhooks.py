"""Tells the application what happened: starts deliveries, and makes their attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from temporalio import activity

from activities.webhook_outbox import WebhookOutbox
from activities.webhook_starts import DeliveryStarter
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.webhook_deliveries import Delivery, DeliveryAttempt, DeliveryStatus
from perdure.errors import InvalidInputError, NotFoundError, UpstreamError
from perdure.ids import ConnectionKey
from perdure.observability.metrics import WEBHOOK_AGE_SECONDS, WEBHOOK_ATTEMPTS
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.bodies import RequestBody
from perdure.proxy.exchange import NetworkError, OutgoingRequest, Transport
from perdure.temporal.payloads import ConnectionInput, DeliveryInput, Payload
from perdure.webhooks.headers import webhook_headers
from perdure.webhooks.receipt import Receipt, answered, unanswered

__all__ = [
    "ATTEMPT_SECONDS",
    "Deliveries",
    "ForgottenDeliveries",
    "StartDeliveriesInput",
    "WebhookActivities",
]

ATTEMPT_SECONDS = 20.0
"""How long a receiver may take to answer."""

_AT_ONCE = 100
# Twice what passes between two attempts at most, unless the receiver asks for more.
_STALLED = timedelta(hours=1)

_STATUSES: Mapping[str, DeliveryStatus] = {
    "delivered": DeliveryStatus.DELIVERED,
    "retry": DeliveryStatus.PENDING,
    "refused": DeliveryStatus.FAILED,
}


class _Find(Protocol):
    async def __call__(self, *, after_seq: int, limit: int) -> Sequence[tuple[int, UUID, str]]: ...


class Deliveries(Payload):
    """Deliveries that were written and are to be started."""

    ids: list[str] = []


class StartDeliveriesInput(Payload):
    """Deliveries of one environment."""

    environment: str
    ids: list[str]


class ForgottenDeliveries(Payload):
    """Which deliveries should have been started by now.

    Attributes:
        age: Seconds since they were written.
    """

    age: float = 600.0


class WebhookActivities:
    """Steps that tell the application what happened. All of them may be repeated.

    Args:
        database: Our own data.
        catalog: Providers.
        transport: Carries attempts out.
        starter: Starts deliveries.
    """

    def __init__(
        self,
        database: Database,
        catalog: ProviderCatalog,
        transport: Transport,
        starter: DeliveryStarter,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._transport = transport
        self._starter = starter
        self._outbox = WebhookOutbox(database)

    @activity.defn
    async def tell_of_connection(self, target: ConnectionInput) -> Deliveries:
        """Write what is to be told of a connection that was made or got new credentials."""
        if target.operation is None:
            return Deliveries()
        try:
            connection = await self._database.connections.by_key(
                ConnectionKey(target.connection_key)
            )
            provider = self._catalog.get(connection.provider)
        except NotFoundError:
            return Deliveries()
        async with self._database.transaction() as conn:
            ids = await self._outbox.credentials_changed(
                connection,
                target.environment,
                provider.auth_mode,
                target.operation,
                conn=conn,
            )
        return Deliveries(ids=[str(found) for found in ids])

    @activity.defn
    async def start_deliveries(self, start: StartDeliveriesInput) -> None:
        """Start the workflow of each delivery that has none yet."""
        found = await self._database.deliveries.by_ids([UUID(one) for one in start.ids])
        await self._starter.start(start.environment, found)

    @activity.defn
    async def start_forgotten_deliveries(self, sweep: ForgottenDeliveries) -> int:
        """Start deliveries that nobody is at; returns how many were looked at.

        The run of one was ended by force before it could start it, or Temporal was set up anew
        while it waited for another attempt. One that somebody is at goes on as it does.
        """
        deliveries, now = self._database.deliveries, utcnow()
        count = await self._start_all(
            partial(deliveries.unstarted, now - timedelta(seconds=sweep.age))
        )
        return count + await self._start_all(partial(deliveries.stalled, now - _STALLED))

    async def _start_all(self, find: _Find) -> int:
        count = after = 0
        while found := await find(after_seq=after, limit=_AT_ONCE):
            for seq, delivery_id, environment in found:
                delivery = await self._database.deliveries.by_ids([delivery_id])
                await self._starter.start(environment, delivery)
                after = seq
            count += len(found)
        return count

    @activity.defn
    async def post_webhook(self, target: DeliveryInput) -> None:
        """Make one attempt at a delivery, unless it has ended; note what came of it.

        Raises:
            UpstreamError: The receiver did not take it; the error says whether and when to try
                again.
            InvalidInputError: Its URL was removed, or may not be called.
        """
        found = await self._database.deliveries.by_ids([UUID(target.delivery_id)])
        if not found or found[0].status is not DeliveryStatus.PENDING:
            return
        delivery = found[0]
        at = utcnow()
        try:
            receipt = await self._attempt(delivery)
        except InvalidInputError as error:
            await self._note(
                delivery, DeliveryAttempt(at, None, error.message), DeliveryStatus.FAILED
            )
            _count(delivery, "refused")
            raise
        await self._note(
            delivery,
            DeliveryAttempt(at, receipt.status, receipt.error),
            _STATUSES[receipt.verdict],
        )
        _count(delivery, receipt.verdict)
        if receipt.verdict != "delivered":
            raise UpstreamError(
                f"{target.host}: {receipt.error}",
                code="webhook_not_delivered",
                status=receipt.status,
                retryable=receipt.verdict == "retry",
                retry_after=receipt.delay,
            )

    @activity.defn
    async def give_up_webhook(self, target: DeliveryInput) -> None:
        """Note that a delivery is not tried any more, unless it has ended already."""
        await self._database.deliveries.give_up(
            UUID(target.delivery_id),
            "it was ended before the receiver took it",
            opening=target.opening,
        )

    async def _attempt(self, delivery: Delivery) -> Receipt:
        if delivery.goes_to is None:
            msg = f"The {delivery.target} webhook URL was removed; there is nowhere to send it."
            raise InvalidInputError(msg, code="webhook_url_removed")
        body = delivery.body.encode()
        headers = webhook_headers(
            body,
            signing_key=await self._database.webhook_settings.signing_key(delivery.environment_id),
            delivery_id=str(delivery.id),
        )
        request = OutgoingRequest(
            method="POST",
            url=delivery.goes_to,
            headers={**delivery.headers, **headers},
            body=RequestBody(body, headers["content-type"]),
            timeout_s=ATTEMPT_SECONDS,
            follow_redirects=False,
            purpose="webhook",
        )
        try:
            answer = await self._transport.send(request)
        except NetworkError as error:
            return unanswered(error)
        return answered(answer.status, answer.headers, now=utcnow())

    async def _note(
        self, delivery: Delivery, attempt: DeliveryAttempt, status: DeliveryStatus
    ) -> None:
        await self._database.deliveries.note_attempt(
            delivery.id, attempt, status, url=delivery.goes_to
        )
        if attempt.error is not None:
            activity.logger.warning(
                "webhook not delivered",
                extra={
                    "delivery": str(delivery.id),
                    "status": attempt.status,
                    "verdict": status.value,
                    "attempt": activity.info().attempt,
                },
            )


def _count(delivery: Delivery, outcome: str) -> None:
    WEBHOOK_ATTEMPTS.add(type=delivery.type, outcome=outcome)
    WEBHOOK_AGE_SECONDS.record((utcnow() - delivery.created_at).total_seconds(), outcome=outcome)
