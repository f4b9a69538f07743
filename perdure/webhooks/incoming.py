"""A webhook of a provider as it came, and what its rules find in it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from perdure.errors import InvalidInputError
from perdure.providers.webhook_rules import (
    TEMPLATE_PART,
    ChallengeRule,
    ConnectionRules,
    WebhookRules,
)
from perdure.proxy.json_path import MISSING, lookup
from perdure.proxy.redaction import is_sensitive_name
from perdure.webhooks.body import encode_body

__all__ = [
    "IncomingWebhook",
    "Wanted",
    "asked_challenge",
    "events_of",
    "kept",
    "wanted_connections",
]

_FORM = "application/x-www-form-urlencoded"

# HubSpot signs the URL with these characters as they are.
_UNESCAPED = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)

_HOP_BY_HOP = re.compile(
    r"^(host|connection|cookie2?|te|trailer|transfer-encoding|upgrade|via|forwarded|expect"
    r"|accept-encoding|keep-alive|(proxy|sec|content|x-forwarded|cf)-.*|x-real-ip)$"
)


@dataclass(frozen=True)
class IncomingWebhook:
    """A request of a provider.

    Attributes:
        headers: With lower-case names.
        query: The last value of each parameter.
        body: As it came.
        method: Of the request.
        uri: The URL that the provider called.
        parts: What the header of the signature says as `k=v`.
        timestamp: The moment it was signed, as the provider wrote it.
    """

    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    uri: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    timestamp: str | None = None

    @cached_property
    def payload(self) -> Any:
        """The decoded body.

        JSON as it is; a form as an object of texts, and lists where a name comes several times;
        any other text as text, and what is no text as base64. An empty body is None.

        Raises:
            InvalidInputError: It is said to be JSON and is not.
        """
        media_type = _media_type(self.headers)
        if not self.body:
            return None
        if media_type == _FORM:
            return _form(self.body)
        is_json = media_type == "application/json" or media_type.endswith("+json")
        if is_json or not media_type:
            try:
                return _json(self.body)
            except (ValueError, RecursionError) as error:
                if is_json:
                    msg = "The body is said to be JSON and is not."
                    raise InvalidInputError(msg) from error
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            return base64.b64encode(self.body).decode()

    def text(self, template: str) -> str | None:
        """Fill in a template, None where a part of it has no value."""
        value = self.filled(template)
        return None if value is None else value.decode(errors="replace")

    def filled(self, template: str) -> bytes | None:
        """Fill in the template of a signed text, None where a part of it has no value."""
        done: list[bytes] = []
        end = 0
        for found in TEMPLATE_PART.finditer(template):
            value = self._value(found[1])
            if value is None:
                return None
            done += template[end : found.start()].encode(), value
            end = found.end()
        return b"".join((*done, template[end:].encode()))

    def first(self, templates: Sequence[str]) -> str | None:
        """Fill in the first of several templates that has a value other than no text."""
        return next((text for one in templates if (text := self.text(one))), None)

    def _value(self, name: str) -> bytes | None:
        if name == "body":
            return self.body
        root, _, rest = name.partition(".")
        text = self._body_text(rest) if root == "body" else self._texts(root, rest)
        return None if text is None else text.encode("utf-8", "replace")

    def _texts(self, root: str, rest: str) -> str | None:
        if rest:
            named = {"headers": self.headers, "query": self.query, "signature": self.parts}
            return named[root].get(rest.lower() if root == "headers" else rest)
        return {
            "timestamp": self.timestamp,
            "method": self.method,
            "uri": self.uri,
            "decoded_uri": _UNESCAPED.sub(lambda found: chr(int(found[1], 16)), self.uri),
        }[root]

    def _body_text(self, path: str) -> str | None:
        value = lookup(self.payload, path)
        if value is MISSING or value is None or isinstance(value, dict | list):
            return None
        return value if isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom a webhook concerns: connections with a value in a field.

    Attributes:
        column: `connection_id`, `metadata` or `connection_config`.
        values: Names of connections, or objects of which the column has to contain one.
    """

    column: str
    values: tuple[Any, ...]


def asked_challenge(rules: WebhookRules, webhook: IncomingWebhook) -> ChallengeRule | None:
    """Return the rule of a request that only asks whether we are there, None for a webhook."""
    for rule in rules.challenges:
        value = webhook.text(rule.when)
        if value is not None and rule.equals in (None, value):
            return rule
    return None


def events_of(rules: WebhookRules, webhook: IncomingWebhook) -> list[IncomingWebhook]:
    """Return the webhooks that a request holds: itself, or the elements of a list in it."""
    webhook = _unpacked(rules, webhook)
    if rules.items is None:
        return [webhook]
    found = lookup(webhook.payload, rules.items)
    if not isinstance(found, list):
        return [webhook]
    return [_json_webhook(webhook, encode_body(item)) for item in found]


def wanted_connections(rules: ConnectionRules, webhook: IncomingWebhook) -> Wanted | None:
    """Return whom a webhook concerns, None for all connections of the integration."""
    for rule in rules.match:
        value = webhook.text(rule.value)
        if not value:
            continue
        value = value.removesuffix(rule.without)
        column, _, path = rule.field.partition(".")
        if not path:
            return Wanted(column, (value,))
        return Wanted(column, tuple(_shapes(path, value)))
    return Wanted("connection_id", ()) if rules.otherwise == "none" else None


def kept(rules: WebhookRules, webhook: IncomingWebhook) -> IncomingWebhook:
    """Return a webhook without credentials, what is about its transport, and most of the query."""
    signed_in = rules.signature.header if rules.signature else None
    headers = {
        name: value
        for name, value in webhook.headers.items()
        if name == "content-type" or not (name == signed_in or _is_private(name))
    }
    query = {name: webhook.query[name] for name in rules.query if name in webhook.query}
    return replace(webhook, headers=headers, query=query)


def _unpacked(rules: WebhookRules, webhook: IncomingWebhook) -> IncomingWebhook:
    """Return the JSON that a field of a form holds, where the rules name one and it is there."""
    if rules.form_field is None or _media_type(webhook.headers) != _FORM:
        return webhook
    text = webhook.payload.get(rules.form_field) if webhook.payload else None
    return _json_webhook(webhook, text.encode()) if isinstance(text, str) else webhook


def _json_webhook(webhook: IncomingWebhook, body: bytes) -> IncomingWebhook:
    headers = {**webhook.headers, "content-type": "application/json"}
    return replace(webhook, body=body, headers=headers)


def _is_private(name: str) -> bool:
    is_secret = is_sensitive_name(name) or "signature" in name or "hmac" in name
    return is_secret or _HOP_BY_HOP.match(name) is not None


def _shapes(path: str, value: str) -> list[dict[str, Any]]:
    """Return the objects that have a value at a path: as text or number, in a name or below."""
    values: list[Any] = [value]
    if value.isdecimal() and str(int(value)) == value:
        values.append(int(value))
    shapes = []
    for one in values:
        shapes.append({path: one})
        if "." in path:
            nested: Any = one
            for name in reversed(path.split(".")):
                nested = {name: nested}
            shapes.append(nested)
    return shapes


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _form(body: bytes) -> dict[str, Any]:
    found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _json(body: bytes) -> Any:
    value = json.loads(body, parse_constant=_refuse_constant)
    # Half a character can be written in JSON, and stored or sent on by nobody.
    return _whole(value) if b"\\ud" in body.lower() else value


def _whole(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {_whole(name): _whole(item) for name, item in value.items()}
    return value


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is no JSON"
    raise ValueError(msg)
