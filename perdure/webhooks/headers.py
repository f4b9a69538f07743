"""The headers of a webhook: two signatures of its body, and what names the delivery."""

from __future__ import annotations

import hashlib
import hmac

__all__ = ["DELIVERY_HEADER", "webhook_headers"]

DELIVERY_HEADER = "x-perdure-delivery"
"""Names the delivery: the same on every attempt, so that a receiver can tell repetitions."""


def webhook_headers(body: bytes, *, signing_key: str, delivery_id: str) -> dict[str, str]:
    """Return the headers that go with a body.

    `X-Nango-Hmac-Sha256` is the signature to check. `X-Nango-Signature` is there for receivers that
    check it already: whoever has seen a signature can lengthen the body without it being noticed.

    Args:
        body: The bytes that are sent.
        signing_key: Key of the environment.
        delivery_id: Id of the delivery.
    """
    key = signing_key.encode()
    return {
        "content-type": "application/json",
        "user-agent": "nango",
        "x-nango-signature": hashlib.sha256(key + body).hexdigest(),
        "x-nango-hmac-sha256": hmac.digest(key, body, "sha256").hex(),
        DELIVERY_HEADER: delivery_id,
    }
