"""What the rules find in a webhook: its payload, its types, whom it concerns."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from perdure.errors import InvalidInputError
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.providers.webhook_rules import ConnectionRules, WebhookRules, webhook_rules
from perdure.webhooks.incoming import (
    IncomingWebhook,
    Wanted,
    asked_challenge,
    events_of,
    kept,
    wanted_connections,
)

CATALOG = ProviderCatalog.load()


def rules_of(provider: str) -> WebhookRules:
    rules = CATALOG.get(provider).webhook
    assert rules is not None
    return rules


def webhook(body: Any = None, **headers: str) -> IncomingWebhook:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return IncomingWebhook({"content-type": "application/json", **named}, json.dumps(body).encode())


def types_of(rules: WebhookRules, hook: IncomingWebhook) -> list[str]:
    return [name for template in rules.types if (name := hook.text(template))]


@pytest.mark.parametrize(
    ("content_type", "body", "payload"),
    [
        ("application/json", b'{"a": [1, null]}', {"a": [1, None]}),
        ("application/vnd.api+json; charset=utf-8", b"3", 3),
        (
            "application/x-www-form-urlencoded",
            b"a=1&b=2&b=3&c=",
            {"a": "1", "b": ["2", "3"], "c": ""},
        ),
        ("text/plain", b"{}", "{}"),
        ("", b'{"a": 1}', {"a": 1}),
        ("", b"plain", "plain"),
        ("application/octet-stream", b"\xff\x00", "/wA="),
        ("application/json", b"", None),
        ("application/json", b'"\\ud83d\\ude00 \\ud83d"', "\U0001f600 ?"),
    ],
)
def test_body_is_decoded_by_its_type(content_type: str, body: bytes, payload: Any) -> None:
    assert IncomingWebhook({"content-type": content_type}, body).payload == payload


@pytest.mark.parametrize("body", [b"{", b"NaN", b"\xff", b"[" * 100_000])
def test_what_is_said_to_be_json_and_is_not_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInputError):
        _ = IncomingWebhook({"content-type": "application/json"}, body).payload


def test_types_may_be_in_headers_or_the_body_or_both() -> None:
    hook = webhook({"action": "opened"}, x_github_event="issues")
    assert types_of(rules_of("github-pat"), hook) == ["issues", "issues.opened"]
    hook = webhook({"type": "event_callback", "event": {"type": "message"}})
    assert types_of(rules_of("slack"), hook) == ["message", "event_callback"]


def test_template_with_a_part_without_value_has_none() -> None:
    hook = webhook({"a": {"b": 1, "c": True, "d": [1]}})
    assert hook.text("${body.a.b}/${body.a.c}") == "1/true"
    assert hook.text("x${body.a.d}") is None
    assert hook.text("${headers.x-missing}") is None
    assert hook.first(["${body.none}", "${body.a.b}"]) == "1"


@pytest.mark.parametrize(
    ("match", "body", "wanted"),
    [
        (
            {"field": "connection_id", "value": "${body.id}"},
            {"id": "acme"},
            Wanted("connection_id", ("acme",)),
        ),
        (
            {"field": "metadata.team", "value": "${body.id}"},
            {"id": 7},
            Wanted("metadata", ({"team": "7"}, {"team": 7})),
        ),
        (
            {"field": "connection_config.team.id", "value": "${body.id}"},
            {"id": "T1"},
            Wanted("connection_config", ({"team.id": "T1"}, {"team": {"id": "T1"}})),
        ),
        ({"field": "metadata.team", "value": "${body.id}"}, {}, None),
        (
            {"field": "connection_config.shop", "value": "${body.id}", "without": ".test"},
            {"id": "a.test"},
            Wanted("connection_config", ({"shop": "a"},)),
        ),
    ],
)
def test_connections_are_found_by_what_the_webhook_says(
    match: dict[str, Any], body: Any, wanted: Wanted | None
) -> None:
    rules = ConnectionRules.model_validate({"match": [match]})
    assert wanted_connections(rules, webhook(body)) == wanted


def test_webhook_without_any_value_concerns_nobody_where_that_is_said() -> None:
    rules = ConnectionRules.model_validate(
        {"match": [{"field": "metadata.a", "value": "${body.a}"}], "otherwise": "none"}
    )
    assert wanted_connections(rules, webhook({})) == Wanted("connection_id", ())


def test_elements_of_a_list_are_webhooks_of_their_own() -> None:
    items = [{"eventId": 1, "portalId": 62515}, {"eventId": 2, "portalId": 62515}]
    found = events_of(rules_of("hubspot"), webhook(items))
    assert [hook.payload for hook in found] == items
    assert events_of(rules_of("hubspot"), webhook({"eventId": 1}))[0].payload == {"eventId": 1}


@pytest.mark.parametrize(
    ("provider", "headers", "sent", "types"),
    [
        ("github-pat", {"x-github-event": "issues"}, {"action": "opened"}, "issues.opened"),
        ("slack", {}, {"type": "block_actions", "team": {"id": "T1"}}, "block_actions"),
    ],
)
def test_form_that_holds_json_in_a_field_is_that_json(
    provider: str, headers: dict[str, str], sent: Any, types: str
) -> None:
    rules = rules_of(provider)
    headers = {"content-type": "application/x-www-form-urlencoded", **headers}
    body = urlencode({"payload": json.dumps(sent)}).encode()

    (found,) = events_of(rules, IncomingWebhook(headers, body))

    assert found.payload == sent
    assert types_of(rules, found)[-1] == types


def test_interaction_of_slack_concerns_its_own_team() -> None:
    wanted = wanted_connections(rules_of("slack").connections, webhook({"team": {"id": "T1"}}))
    assert wanted == Wanted("connection_config", ({"team.id": "T1"}, {"team": {"id": "T1"}}))


def test_form_without_that_field_is_the_webhook_itself() -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for body, payload in ((b"command=%2Fgo", {"command": "/go"}), (b"", None)):
        (found,) = events_of(rules_of("slack"), IncomingWebhook(headers, body))
        assert found.payload == payload


def test_neither_credentials_nor_signatures_nor_other_parameters_are_kept() -> None:
    rules = rules_of("shopify").model_copy(update={"query": ("topic",)})
    hook = IncomingWebhook(
        {
            "content-type": "application/json",
            "content-length": "2",
            "host": "x",
            "authorization": "Bearer x",
            "cookie": "a=b",
            "proxy-authorization": "x",
            "x-api-key": "x",
            "x-shopify-hmac-sha256": "x",
            "x-other-signature": "x",
            "x-shopify-topic": "orders/create",
            "user-agent": "Shopify",
        },
        b"{}",
        {"topic": "a", "token": "secret"},
    )
    found = kept(rules, hook)
    assert set(found.headers) == {"content-type", "x-shopify-topic", "user-agent"}
    assert found.query == {"topic": "a"}


def test_challenge_is_told_from_a_webhook() -> None:
    rules = rules_of("slack")
    challenge = webhook({"type": "url_verification", "challenge": "3eZb"})
    rule = asked_challenge(rules, challenge)
    assert rule is not None
    assert challenge.text(rule.answer) == "3eZb"
    assert asked_challenge(rules, webhook({"type": "event_callback"})) is None


@pytest.mark.parametrize(
    ("own", "place"),
    [
        ({"types": "${header.x}"}, ("webhook_rules", "types", 0)),
        (
            {"signature": {"header": "x", "algorithm": "md5"}},
            ("webhook_rules", "signature", "algorithm"),
        ),
        ({"signatrue": None}, ("webhook_rules", "signatrue")),
        (
            {"connections": {"match": [{"field": "tags.a", "value": "x"}]}},
            ("webhook_rules", "connections", "match", 0, "field"),
        ),
    ],
)
def test_fault_in_rules_is_named(own: dict[str, Any], place: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidInputError) as raised:
        webhook_rules(None, own)
    assert [tuple(fault.path) for fault in raised.value.errors] == [place]
