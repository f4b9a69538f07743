"""From Stripe's objects to our models."""

from datetime import UTC, datetime
from typing import Any

from models import StripeAddress, StripeCustomer, StripeProduct


def to_customer(raw: dict[str, Any]) -> StripeCustomer:
    return StripeCustomer(
        id=raw["id"],
        name=raw["name"],
        email=raw["email"],
        phone=raw["phone"],
        description=raw["description"],
        address=to_address(raw["address"]),
        currency=raw["currency"],
        delinquent=raw["delinquent"],
        metadata=raw["metadata"],
        created_at=to_time(raw["created"]),
    )


def to_address(raw: dict[str, Any] | None) -> StripeAddress | None:
    if raw is None:
        return None
    parts = ("line1", "line2", "postal_code", "city", "state", "country")
    return StripeAddress(**{part: raw.get(part) for part in parts})


def to_product(raw: dict[str, Any]) -> StripeProduct:
    return StripeProduct(
        id=raw["id"],
        name=raw["name"],
        description=raw["description"],
        active=raw["active"],
        url=raw["url"],
        metadata=raw["metadata"],
        created_at=to_time(raw["created"]),
    )


def to_time(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat()
