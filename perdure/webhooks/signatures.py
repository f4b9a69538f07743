"""Whether a webhook is genuine: signed with the secret that we share with its provider, and new."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from perdure.errors import UnauthorizedError
from perdure.providers.webhook_rules import SignatureRule, TimestampRule, WebhookRules
from perdure.webhooks.incoming import IncomingWebhook

__all__ = ["verify"]

_DIGESTS = {"hmac-sha256": "sha256", "hmac-sha1": "sha1"}


def verify(
    rules: WebhookRules, webhook: IncomingWebhook, secret: str | None, *, now: datetime
) -> None:
    """Check that a webhook is its provider's, and new.

    Args:
        rules: Of the integration.
        webhook: As it came.
        secret: The integration's webhook secret, None where it has none.
        now: The present moment, aware.

    Raises:
        UnauthorizedError: `webhook_secret_missing`, `webhook_signature_missing`,
            `webhook_signature_invalid` or `webhook_timestamp_invalid`.
    """
    rule = rules.signature
    if rule is None:
        return
    if not secret:
        msg = (
            "This integration has no webhook secret, so the webhook cannot be verified. Set "
            "`credentials.webhook_secret`, or turn verification off with "
            '`"webhook_rules": {"signature": null}`.'
        )
        raise UnauthorizedError(msg, code="webhook_secret_missing")
    header = webhook.headers.get(rule.header, "").strip()
    if not header:
        msg = f"The header {rule.header} is missing: this webhook is not signed."
        raise UnauthorizedError(msg, code="webhook_signature_missing")
    parts = [part.strip() for part in header.split(rule.separator)] if rule.separator else [header]
    pairs = dict(part.split("=", 1) for part in parts if "=" in part)
    webhook = replace(webhook, parts=pairs)
    if rule.timestamp is not None:
        webhook = replace(webhook, timestamp=webhook.text(rule.timestamp.value))
    given = [part.removeprefix(rule.prefix) for part in parts if part.startswith(rule.prefix)]
    if not _is_signed(rule, webhook, secret, given):
        msg = f"The signature in {rule.header} does not fit the body and the webhook secret."
        raise UnauthorizedError(msg, code="webhook_signature_invalid")
    if rule.timestamp is not None and not _is_new(rule.timestamp, webhook.timestamp, now):
        msg = (
            f"The webhook was not signed within {rule.timestamp.tolerance:g} seconds of now; it "
            "may be a repetition by somebody else."
        )
        raise UnauthorizedError(msg, code="webhook_timestamp_invalid")


def _is_signed(
    rule: SignatureRule, webhook: IncomingWebhook, secret: str, given: Sequence[str]
) -> bool:
    key = _key(rule, secret)
    signatures = [decoded for text in given if (decoded := _decoded(rule.encoding, text))]
    fits = False
    for template in rule.signed:
        signed = webhook.filled(template)
        if signed is None:
            continue
        expected = hmac.digest(key, signed, _DIGESTS[rule.algorithm])
        for signature in signatures:
            fits |= hmac.compare_digest(expected, signature)
    return fits


def _key(rule: SignatureRule, secret: str) -> bytes:
    text = secret.removeprefix(rule.key_prefix)
    key = text.encode() if rule.key_encoding == "text" else _decoded(rule.key_encoding, text)
    # What is signed with nothing could be signed by anybody.
    if not key:
        msg = f"The webhook secret of this integration is not {rule.key_encoding}; set it again."
        raise UnauthorizedError(msg, code="webhook_secret_missing")
    return key


def _decoded(encoding: str, text: str) -> bytes | None:
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _is_new(rule: TimestampRule, text: str | None, now: datetime) -> bool:
    try:
        signed_at = float(text or "")
    except ValueError:
        return False
    if rule.unit == "milliseconds":
        signed_at /= 1000
    return abs(now.timestamp() - signed_at) <= rule.tolerance
