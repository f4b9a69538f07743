"""Webhooks to the application: where they go, what became of them, and sending them again."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from activities.webhook_starts import DeliveryStarter
from api.dependencies import Caller, Deps
from api.schemas.webhooks import (
    DeliveryDetail,
    DeliveryList,
    DeliverySummary,
    SigningKey,
    WebhookSettingsChange,
    WebhookSettingsView,
)
from api.temporal import temporal_answers
from perdure.db.webhook_deliveries import DeliveryStatus, WebhookType
from perdure.records.cursor import decode_cursor, encode_cursor

__all__ = ["router"]

router = APIRouter(tags=["webhooks"])


@router.get("/environment/webhooks")
async def get_webhook_settings(deps: Deps, caller: Caller) -> WebhookSettingsView:
    """Return what the environment wants to be told, and where."""
    return WebhookSettingsView.of(await deps.database.webhook_settings.get(caller.id))


@router.patch("/environment/webhooks")
async def change_webhook_settings(
    deps: Deps, caller: Caller, body: WebhookSettingsChange
) -> WebhookSettingsView:
    """Change what the environment wants to be told, or where; it counts from now on."""
    changed = await deps.database.webhook_settings.change(
        caller.id, body.model_dump(exclude_unset=True)
    )
    return WebhookSettingsView.of(changed)


@router.post("/environment/webhook-signing-key/rotate")
async def rotate_webhook_signing_key(deps: Deps, caller: Caller) -> SigningKey:
    """Make a new signing key and show it, this once; the next attempt is signed with it."""
    key = await deps.database.webhook_settings.rotate_signing_key(caller.id)
    return SigningKey(signing_key=key)


@router.get("/webhooks/deliveries")
async def list_deliveries(
    deps: Deps,
    caller: Caller,
    *,
    status: DeliveryStatus | None = None,
    kind: Annotated[WebhookType | None, Query(alias="type")] = None,
    integration: str | None = None,
    connection_id: str | None = None,
    run_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> DeliveryList:
    """Return deliveries, newest first; follow `next_cursor` for older ones."""
    found = await deps.database.deliveries.list(
        caller.id,
        status=status,
        type=kind,
        integration=integration,
        connection_id=connection_id,
        run_id=run_id,
        before_seq=None if cursor is None else decode_cursor(cursor),
        limit=limit + 1,
    )
    return DeliveryList(
        deliveries=[DeliverySummary.of(delivery, caller.name) for delivery in found[:limit]],
        next_cursor=encode_cursor(found[limit - 1].seq) if len(found) > limit else None,
    )


@router.get("/webhooks/deliveries/{delivery_id}")
async def get_delivery(deps: Deps, caller: Caller, delivery_id: UUID) -> DeliveryDetail:
    """Return a delivery with what it says and its attempts."""
    delivery = await deps.database.deliveries.get(caller.id, delivery_id)
    attempts = await deps.database.deliveries.attempts(delivery_id)
    return DeliveryDetail.with_history(delivery, attempts, caller.name)


@router.post("/webhooks/deliveries/{delivery_id}/redeliver")
async def redeliver(deps: Deps, caller: Caller, delivery_id: UUID) -> DeliverySummary:
    """Send a webhook again, under the same id, whatever became of it before; now if it waits."""
    await deps.database.deliveries.reopen(caller.id, delivery_id)
    delivery = await deps.database.deliveries.get(caller.id, delivery_id)
    starter = DeliveryStarter(deps.temporal, deps.settings.webhook_patience)
    async with temporal_answers():
        await starter.restart(caller.name, delivery)
    return DeliverySummary.of(delivery, caller.name)
