"""Webhooks are held against their signatures, by the rules of each provider that we ship."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import UnauthorizedError
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.providers.webhook_rules import WebhookRules, webhook_rules
from perdure.webhooks.incoming import IncomingWebhook
from perdure.webhooks.signatures import verify

CATALOG = ProviderCatalog.load()
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@dataclass(frozen=True)
class Genuine:
    """A webhook as a provider would send it."""

    provider: str
    secret: str
    webhook: IncomingWebhook
    signed_in: str
    at: datetime = NOW

    @property
    def rules(self) -> WebhookRules:
        rules = CATALOG.get(self.provider).webhook
        assert rules is not None
        return rules

    def check(self, webhook: IncomingWebhook | None = None, **changes: Any) -> None:
        facts = {"secret": self.secret, "now": self.at, **changes}
        verify(self.rules, webhook or self.webhook, facts["secret"], now=facts["now"])

    def with_headers(self, **headers: str | None) -> IncomingWebhook:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {**self.webhook.headers, **named}
        return replace(
            self.webhook, headers={name: text for name, text in merged.items() if text is not None}
        )


def mac(secret: str, signed: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.digest(secret.encode(), signed, algorithm)


def json_webhook(body: bytes, **headers: str) -> IncomingWebhook:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return IncomingWebhook({"content-type": "application/json", **named}, body)


def stripe() -> Genuine:
    body = b'{"id": "evt_1", "type": "customer.created"}'
    signature = mac("whsec_abc", f"{EPOCH}.".encode() + body).hex()
    header = f"t={EPOCH},v1={'0' * 64},v1={signature},v0={'1' * 64}"
    return Genuine(
        "stripe", "whsec_abc", json_webhook(body, stripe_signature=header), "stripe-signature"
    )


def github() -> Genuine:
    # Example of the provider's documentation.
    header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    webhook = IncomingWebhook({"x-hub-signature-256": header}, b"Hello, World!")
    return Genuine("github-pat", "It's a Secret to Everybody", webhook, "x-hub-signature-256")


def slack() -> Genuine:
    # Example of the provider's documentation.
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id="
        b"398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "content-type": "application/x-www-form-urlencoded",
    }
    return Genuine(
        "slack",
        "8f742231b10e8888abcd99yyyzzz85a5",
        IncomingWebhook(headers, body),
        "x-slack-signature",
        datetime.fromtimestamp(1531420618, UTC),
    )


def hubspot() -> Genuine:
    # Example of the provider's own client library.
    headers = {
        "x-hubspot-request-timestamp": "1693657560000",
        "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
    }
    webhook = IncomingWebhook(
        headers,
        b"{'example_field':'example_value'}",
        uri="https://www.example.com/webhook_uri",
    )
    return Genuine(
        "hubspot",
        "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        webhook,
        "x-hubspot-signature-v3",
        datetime.fromtimestamp(1693657560, UTC),
    )


def shopify() -> Genuine:
    body = b'{"id": 820982911946154508}'
    signature = base64.b64encode(mac("hush", body)).decode()
    webhook = json_webhook(body, x_shopify_hmac_sha256=signature)
    return Genuine("shopify", "hush", webhook, "x-shopify-hmac-sha256")


def linear() -> Genuine:
    body = json.dumps({"type": "Issue", "webhookTimestamp": EPOCH * 1000}).encode()
    webhook = json_webhook(body, linear_signature=mac("lin_wh", body).hex())
    return Genuine("linear", "lin_wh", webhook, "linear-signature")


def notion() -> Genuine:
    body = b'{"id": "1", "type": "page.created"}'
    webhook = json_webhook(body, x_notion_signature=f"sha256={mac('secret_t', body).hex()}")
    return Genuine("notion", "secret_t", webhook, "x-notion-signature")


def intercom() -> Genuine:
    body = b'{"type": "notification_event", "topic": "user.created"}'
    webhook = json_webhook(body, x_hub_signature=f"sha1={mac('cs', body, 'sha1').hex()}")
    return Genuine("intercom", "cs", webhook, "x-hub-signature")


def generic() -> Genuine:
    body = b'{"type": "thing.made"}'
    webhook = json_webhook(body, x_hub_signature_256=f"sha256={mac('s', body).hex()}")
    return Genuine("generic-api-key", "s", webhook, "x-hub-signature-256")


MAKERS = (stripe, github, slack, hubspot, shopify, linear, notion, intercom, generic)
TIMED = (stripe, slack, hubspot, linear)


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__)
def genuine(request: pytest.FixtureRequest) -> Genuine:
    return request.param()


def refused(check: Any) -> str:
    with pytest.raises(UnauthorizedError) as raised:
        check()
    return raised.value.code


def test_genuine_webhook_is_accepted(genuine: Genuine) -> None:
    genuine.check()


def test_changed_body_is_refused(genuine: Genuine) -> None:
    changed = replace(genuine.webhook, body=genuine.webhook.body + b" ")
    assert refused(lambda: genuine.check(changed)) == "webhook_signature_invalid"


def test_other_secret_is_refused(genuine: Genuine) -> None:
    assert refused(lambda: genuine.check(secret="other")) == "webhook_signature_invalid"


def test_missing_signature_is_refused(genuine: Genuine) -> None:
    unsigned = genuine.with_headers(**{genuine.signed_in: None})
    assert refused(lambda: genuine.check(unsigned)) == "webhook_signature_missing"


@pytest.mark.parametrize("header", ["=", "sha256=", "v0=zz", "t=1,v1=", "é", "null", "v1=%00"])
def test_malformed_signature_is_refused(genuine: Genuine, header: str) -> None:
    malformed = genuine.with_headers(**{genuine.signed_in: header})
    assert refused(lambda: genuine.check(malformed)) == "webhook_signature_invalid"


def test_integration_without_secret_accepts_nothing(genuine: Genuine) -> None:
    assert refused(lambda: genuine.check(secret=None)) == "webhook_secret_missing"


@pytest.mark.parametrize("maker", TIMED, ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("late", [timedelta(minutes=6), -timedelta(minutes=6)])
def test_replayed_webhook_is_refused(maker: Any, late: timedelta) -> None:
    genuine = maker()
    now = genuine.at + late
    assert refused(lambda: genuine.check(now=now)) == "webhook_timestamp_invalid"


@pytest.mark.parametrize("maker", [slack, hubspot], ids=lambda maker: maker.__name__)
def test_timestamp_cannot_be_exchanged_nor_left_out(maker: Any) -> None:
    genuine = maker()
    (name,) = (header for header in genuine.webhook.headers if header.endswith("timestamp"))
    for value in ("1", None, "NaN", "abc"):
        changed = genuine.with_headers(**{name: value})
        assert refused(lambda changed=changed: genuine.check(changed)) == (
            "webhook_signature_invalid"
        )


def test_method_and_address_are_part_of_what_hubspot_signs() -> None:
    genuine = hubspot()
    for changed in (
        replace(genuine.webhook, method="PUT"),
        replace(genuine.webhook, uri="https://www.example.com/other"),
    ):
        assert refused(lambda changed=changed: genuine.check(changed)) == (
            "webhook_signature_invalid"
        )


def test_hubspot_signs_addresses_without_some_escapes() -> None:
    signed = b"POSThttps://x.test/webhook/dev/a:b@c[]1693657560000"
    signature = base64.b64encode(mac("s", signed)).decode()
    genuine = replace(hubspot(), secret="s")
    webhook = replace(
        genuine.webhook,
        headers={**genuine.webhook.headers, "x-hubspot-signature-v3": signature},
        body=b"[]",
        uri="https://x.test/webhook/dev/a%3Ab%40c",
    )
    genuine.check(webhook)


def test_own_rules_can_describe_another_scheme() -> None:
    # That of Standard Webhooks.
    own = {
        "signature": {
            "header": "webhook-signature",
            "prefix": "v1,",
            "separator": " ",
            "encoding": "base64",
            "signed": "${headers.webhook-id}.${timestamp}.${body}",
            "key_encoding": "base64",
            "key_prefix": "whsec_",
            "timestamp": {"value": "${headers.webhook-timestamp}"},
        }
    }
    rules = webhook_rules(CATALOG.get("generic-api-key").webhook, own)
    assert rules is not None
    key = base64.b64encode(b"k" * 24).decode()
    body = b'{"test": 2432232314}'
    signed = f"msg_1.{EPOCH}.".encode() + body
    signature = base64.b64encode(hmac.digest(b"k" * 24, signed, "sha256")).decode()
    webhook = json_webhook(
        body,
        webhook_id="msg_1",
        webhook_timestamp=str(EPOCH),
        webhook_signature=f"v1,AAAA v1,{signature}",
    )

    verify(rules, webhook, f"whsec_{key}", now=NOW)
    for secret in ("whsec_###", "whsec_"):
        assert refused(lambda secret=secret: verify(rules, webhook, secret, now=NOW)) == (
            "webhook_secret_missing"
        )


def test_verification_is_turned_off_only_by_saying_so() -> None:
    own = webhook_rules(CATALOG.get("stripe").webhook, {"signature": None})
    assert own is not None
    verify(own, json_webhook(b"{}"), None, now=NOW)
    assert own.types == CATALOG.get("stripe").webhook.types


@given(body=st.binary(max_size=200), secret=st.text(min_size=1, max_size=40), other=st.binary())
def test_only_the_signed_bytes_fit(body: bytes, secret: str, other: bytes) -> None:
    rules = CATALOG.get("github-pat").webhook
    assert rules is not None
    secret = secret.encode("utf-8", "replace").decode()
    header = {"x-hub-signature-256": f"sha256={mac(secret, body).hex()}"}
    verify(rules, IncomingWebhook(header, body), secret, now=NOW)
    if other != body:
        with pytest.raises(UnauthorizedError):
            verify(rules, IncomingWebhook(header, other), secret, now=NOW)
