"""Webhooks of providers, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from api.schemas.base import Answer
from perdure.db.webhook_events import EventContent, EventStatus, EventTask, TaskStatus, WebhookEvent
from perdure.webhooks.incoming import IncomingWebhook

__all__ = ["EventDetail", "EventList", "EventSummary", "EventTaskView"]


class EventSummary(Answer):
    """A webhook that a provider has sent.

    Attributes:
        id: Its id, which was answered as `X-Perdure-Event`.
        delivery_id: The provider's name of the delivery.
        types: The names of its type; `webhook-subscriptions` may use any of them.
        status: `pending`, `processed`, `failed`, or `ignored` where nobody wanted it.
        tasks: How many scripts handle it, for each connection.
        failed: How many of them failed.
        forwarded: To how many URLs of the application it was handed on.
    """

    id: UUID
    integration: str
    delivery_id: str | None
    types: list[str]
    received_at: datetime
    status: EventStatus
    tasks: int
    failed: int
    forwarded: int

    @classmethod
    def of(cls, event: WebhookEvent) -> EventSummary:
        """Show an event."""
        return cls(**_facts(event))


class EventList(Answer):
    """Webhooks, newest first."""

    events: list[EventSummary]
    next_cursor: str | None


class EventTaskView(Answer):
    """One script that handles a webhook for one connection.

    Attributes:
        run_id: Its run, None where it has not begun or had nothing to do.
        error: Why it failed.
    """

    connection_id: str
    sync: str
    status: TaskStatus
    run_id: str | None
    error: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None


class EventDetail(EventSummary):
    """A webhook with what it says, without credentials, and all that was done about it."""

    headers: dict[str, str]
    payload: Any
    handling: list[EventTaskView]

    @classmethod
    def with_content(
        cls, event: WebhookEvent, content: EventContent, tasks: Sequence[EventTask]
    ) -> EventDetail:
        """Show an event in full."""
        return cls(
            **_facts(event),
            headers=content.headers,
            payload=IncomingWebhook(content.headers, content.body).payload,
            handling=[EventTaskView.model_validate(task, from_attributes=True) for task in tasks],
        )


def _facts(event: WebhookEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "integration": event.integration,
        "delivery_id": event.delivery_id,
        "types": list(event.types),
        "received_at": event.received_at,
        "status": event.status,
        "tasks": event.tasks,
        "failed": event.failed,
        "forwarded": event.forwarded,
    }
