"""Projects that handle webhooks of providers, and webhooks that come without a provider."""

from __future__ import annotations

import json
from typing import Any

from activities.webhook_dispatch import WebhookDispatcher, WebhookSweep
from activities.webhook_intake import Taken
from activities.webhook_starts import DeliveryStarter
from perdure.webhooks.incoming import IncomingWebhook
from tests.support.stack import Stack

__all__ = ["SAVING", "handled_by", "rules", "sweep", "take"]

CONFIG = """
integrations:
  tracker:
    syncs:
      issues:
        runs: every day
        sync_type: full
        output: Issue
        endpoint: GET /issues
        auto_start: false
        webhook-subscriptions: {subscriptions}
models:
  Issue:
    id: string
    title: string
"""

FETCH = """
async def fetch_data(nango):
    pass
"""

SAVING = """
async def on_webhook_payload_received(nango, payload):
    await nango.batch_save([{"id": str(payload["id"]), "title": payload["title"]}], "Issue")
"""


def handled_by(handler: str = SAVING, subscriptions: str = "['*']") -> dict[str, str]:
    """A project whose sync `issues` handles webhooks."""
    return {
        "nango.yaml": CONFIG.format(subscriptions=subscriptions),
        "tracker/syncs/issues.py": f"{FETCH}\n{handler}",
    }


async def rules(stack: Stack, **own: Any) -> None:
    await stack.container.database.integrations.update(
        stack.environment.id, "tracker", webhook_rules=own
    )


async def take(stack: Stack, payload: Any) -> Taken:
    """Take a webhook and tell nobody, as where everything dies right after the answer."""
    body = json.dumps(payload).encode()
    webhook = IncomingWebhook({"content-type": "application/json"}, body)
    return await stack.container.webhooks.take(stack.environment.name, "tracker", webhook)


async def sweep(stack: Stack) -> None:
    """Look for what was taken, as workers do every few seconds."""
    container = stack.container
    starter = DeliveryStarter(container.temporal, container.settings.webhook_patience)
    dispatcher = WebhookDispatcher(container.temporal)
    await WebhookSweep(container.database, dispatcher, starter).once()
