"""Webhooks of providers that are handed on to the application."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from perdure.db.webhook_arrivals import WebhookTarget
from perdure.db.webhook_deliveries import NewDelivery
from perdure.db.webhook_settings import WebhookSettings
from perdure.ids import ConnectionKey
from perdure.webhooks.body import encode_body
from perdure.webhooks.incoming import IncomingWebhook
from perdure.webhooks.payloads import forward_payload
from perdure.webhooks.selection import destinations

__all__ = ["forwarded"]


def forwarded(
    event_id: UUID,
    webhook: IncomingWebhook,
    settings: WebhookSettings,
    *,
    provider: str,
    integration: str,
    subject: str,
    targets: Sequence[WebhookTarget],
) -> list[NewDelivery]:
    """Return the deliveries that hand a webhook on: one for each connection and URL.

    Args:
        event_id: Id of the event.
        webhook: What is handed on, without credentials.
        settings: Of the environment.
        provider: Name of the provider.
        integration: Key of the integration.
        subject: What it tells, in a few words.
        targets: The connections it concerns; without any it is handed on once, as it came.
    """
    whom: list[tuple[ConnectionKey | None, str | None, str | None]] = [
        (target.key, target.connection_id, target.url_override) for target in targets
    ]
    return [
        NewDelivery(
            type="forward",
            subject=subject,
            integration=integration,
            connection_id=connection_id,
            connection_key=key,
            target=destination.target,
            url=destination.url,
            body=encode_body(
                forward_payload(provider, integration, connection_id, webhook.payload)
            ),
            headers=webhook.headers,
            event_id=event_id,
        )
        for key, connection_id, override in whom or [(None, None, None)]
        for destination in destinations(settings, override)
    ]
