"""Webhooks to the application: settings and deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, StringConstraints

from api.schemas.base import Answer, Body
from perdure.db.webhook_deliveries import Delivery, DeliveryAttempt, DeliveryStatus, WebhookType
from perdure.db.webhook_settings import WebhookSettings
from perdure.errors import InvalidInputError
from perdure.ids import delivery_workflow_id
from perdure.proxy.redaction import Redactor
from perdure.proxy.urls import split_url

__all__ = [
    "DeliveryDetail",
    "DeliveryList",
    "DeliverySummary",
    "SigningKey",
    "WebhookSettingsChange",
    "WebhookSettingsView",
    "WebhookUrl",
]


def _checked(url: str) -> str:
    try:
        split_url(url)
    except InvalidInputError:
        msg = "must be a URL of http or https, without a user name"
        raise ValueError(msg) from None
    return url


WebhookUrl = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2048),
    AfterValidator(_checked),
]
"""Where webhooks go."""


class WebhookSettingsChange(Body):
    """What is to change; what is left out stays, and a URL that is null is removed."""

    primary_url: WebhookUrl | None = None
    secondary_url: WebhookUrl | None = None
    on_auth_creation: bool = True
    on_auth_refresh_error: bool = True
    on_sync_completion_always: bool = False
    on_sync_error: bool = True
    on_async_action_completion: bool = True


class WebhookSettingsView(Answer):
    """What an environment wants to be told, and where.

    Attributes:
        signing_key_created_at: When the key that signs was made, None before the first webhook.
    """

    primary_url: str | None
    secondary_url: str | None
    on_auth_creation: bool
    on_auth_refresh_error: bool
    on_sync_completion_always: bool
    on_sync_error: bool
    on_async_action_completion: bool
    signing_key_created_at: datetime | None

    @classmethod
    def of(cls, settings: WebhookSettings) -> WebhookSettingsView:
        """Show settings."""
        return cls.model_validate(settings, from_attributes=True)


class SigningKey(Answer):
    """A new key, which is shown this once."""

    signing_key: str


class DeliverySummary(Answer):
    """A webhook on its way to one URL.

    Attributes:
        id: The receiver gets it as `X-Perdure-Delivery`, on every attempt.
        url: Where it goes; what looks like a secret in its query is masked.
        finished_at: When it was delivered or given up.
        last_status: Status that the receiver answered with.
        last_error: What was wrong at the last attempt.
    """

    id: UUID
    type: WebhookType
    subject: str
    integration: str
    connection_id: str | None
    run_id: str | None
    target: str
    url: str
    status: DeliveryStatus
    created_at: datetime
    finished_at: datetime | None
    attempts: int
    last_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    workflow_id: str

    @classmethod
    def of(cls, delivery: Delivery, environment: str) -> DeliverySummary:
        """Show a delivery."""
        return cls(**_facts(delivery, environment))


class DeliveryList(Answer):
    """Deliveries, newest first."""

    deliveries: list[DeliverySummary]
    next_cursor: str | None


class AttemptView(Answer):
    """One attempt: when it was, what was answered, and what was wrong."""

    at: datetime
    status: int | None
    error: str | None


class DeliveryDetail(DeliverySummary):
    """A webhook with what it says and its last thousand attempts, oldest first."""

    payload: Any
    history: list[AttemptView]

    @classmethod
    def with_history(
        cls, delivery: Delivery, attempts: Sequence[DeliveryAttempt], environment: str
    ) -> DeliveryDetail:
        """Show a delivery in full."""
        history = [AttemptView(at=one.at, status=one.status, error=one.error) for one in attempts]
        return cls(**_facts(delivery, environment), payload=delivery.payload, history=history)


def _facts(delivery: Delivery, environment: str) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "type": delivery.type,
        "subject": delivery.subject,
        "integration": delivery.integration,
        "connection_id": delivery.connection_id,
        "run_id": delivery.run_id,
        "target": delivery.target,
        "url": Redactor().url(delivery.url),
        "status": delivery.status,
        "created_at": delivery.created_at,
        "finished_at": delivery.finished_at,
        "attempts": delivery.attempts,
        "last_attempt_at": delivery.last_attempt_at,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "workflow_id": delivery_workflow_id(environment, str(delivery.id)),
    }
