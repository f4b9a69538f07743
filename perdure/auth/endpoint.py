"""Requests to token endpoints and the reading of their answers.

Everything goes through the guarded transport. A redirect is never followed: what is sent here is
worth as much as the account, and must not go anywhere else. What is told of a failure holds no
secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote_plus
from xml.parsers.expat import ExpatError

import xmltodict
from pydantic import JsonValue

from perdure.auth.errors import TokenError
from perdure.errors import InvalidInputError
from perdure.providers.tokens import BodyFormat
from perdure.proxy.bodies import RequestBody, decode_body, decode_text, encode_body
from perdure.proxy.client import DEFAULT_HEADERS
from perdure.proxy.exchange import NetworkError, OutgoingRequest, RawResponse, Transport
from perdure.proxy.redaction import Redactor
from perdure.proxy.urls import add_query, split_url

__all__ = ["TokenEndpoint", "TokenRequest", "refusal"]

_FORM = "application/x-www-form-urlencoded"
_TIMEOUT_S = 30.0
_MAX_TOLD = 300
_FORM_ANSWER = re.compile(r"[\w.~%-]+=[^&\s<]*(&[\w.~%-]+=[^&\s<]*)*")

_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_TRANSIENT_ERRORS = frozenset(
    {"temporarily_unavailable", "server_error", "slow_down", "ratelimited", "rate_limited"}
)
_LASTING_ERRORS = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to a token endpoint.

    Attributes:
        url: Absolute.
        params: What it carries; empty values are sent, None is not.
        method: A GET carries `params` in its query.
        headers: By lower-case name.
        body_format: How `params` are sent.
        skip_encode: Names of `params` that go into a form or a query as they are.
    """

    url: str = field(repr=False)
    params: Mapping[str, JsonValue] = field(repr=False)
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body_format: BodyFormat = "form"
    skip_encode: Collection[str] = ()


class TokenEndpoint:
    """Asks token endpoints.

    Args:
        transport: Carries requests out.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def call(
        self, request: TokenRequest, provider: str, secrets: Iterable[str] = ()
    ) -> JsonValue:
        """Return the answer to a request: JSON, a form or XML as an object, or else text.

        Args:
            request: The request.
            provider: Name of the provider, for messages.
            secrets: What must not be shown.

        Raises:
            TokenError: If it is refused or there is no answer.
        """
        redactor = Redactor(secrets)
        host = "an address that is no URL"
        try:
            host = split_url(request.url).hostname or host
            raw = await self._transport.send(_outgoing(request))
        except NetworkError as error:
            raise TokenError(
                f"The token endpoint of {provider} at {host} did not answer: "
                f"{redactor.text(str(error))}",
                lasting=False,
                code="token_endpoint_unavailable",
            ) from error
        except InvalidInputError as error:
            raise TokenError(
                f"The token endpoint of {provider} cannot be asked: {redactor.text(error.message)}",
                lasting=True,
                code=error.code,
            ) from error
        body = _decoded(raw)
        if not 200 <= raw.status < 300:
            raise refusal(provider, body, redactor, raw)
        return body


def refusal(
    provider: str, body: JsonValue, redactor: Redactor, raw: RawResponse | None = None
) -> TokenError:
    """Return the error that a refusal is.

    Args:
        provider: Name of the provider.
        body: The decoded answer.
        redactor: Masks secrets in what is told.
        raw: The answer, None where its status says that all is well.
    """
    error, description = _told(body)
    words = redactor.text(": ".join(word for word in (error, description) if word))
    status = raw.status if raw else None
    if raw and 300 <= raw.status < 400:
        words = "it redirects, which is not followed; mend the token_url"
    if not words and isinstance(body, str):
        words = redactor.text(" ".join(body.split()))
    lasting = error in _LASTING_ERRORS or not (
        error in _TRANSIENT_ERRORS
        or (status is not None and (status in _TRANSIENT_STATUSES or status >= 500))
    )
    return TokenError(
        f"{provider} gave no token{f' (status {status})' if status else ''}"
        f"{f': {words[:_MAX_TOLD]}' if words else '.'}",
        lasting=lasting,
        code="token_refused" if lasting else "token_endpoint_unavailable",
        error=error,
        status=status,
        headers=redactor.headers(raw.headers) if raw else None,
        body={"error": error, "error_description": redactor.text(description or "")},
        retry_after=_seconds(raw.headers.get("retry-after")) if raw else None,
    )


def _outgoing(request: TokenRequest) -> OutgoingRequest:
    accept = "*/*" if request.body_format == "xml" else "application/json"
    headers = {**DEFAULT_HEADERS, "accept": accept, **request.headers}
    content_type = headers.pop("content-type", None)
    params: dict[str, JsonValue] = {n: v for n, v in request.params.items() if v is not None}
    url, body = request.url, None
    if request.method == "GET" or request.body_format == "query":
        flat = {name: _flat(value) for name, value in params.items()}
        kept = {name: value for name, value in flat.items() if name in request.skip_encode}
        url = add_query(url, [(n, v) for n, v in flat.items() if n not in kept])
        if kept:
            as_is = "&".join(f"{name}={value}" for name, value in kept.items())
            url = f"{url}{'&' if '?' in url else '?'}{as_is}"
    else:
        body = _body(request, params, content_type)
    return OutgoingRequest(
        purpose="token",
        method=request.method,
        url=url,
        headers=headers,
        body=body,
        timeout_s=_TIMEOUT_S,
        follow_redirects=False,
    )


def _body(
    request: TokenRequest, params: dict[str, JsonValue], content_type: str | None
) -> RequestBody:
    match request.body_format:
        case "json":
            return RequestBody(
                encode_body(params, None).content, content_type or "application/json"
            )
        case "xml":
            text = xmltodict.unparse(params, full_document=len(params) == 1)
            return RequestBody(text.encode(), content_type or "text/xml; charset=utf-8")
        case _:
            encoded = {n: v for n, v in params.items() if n not in request.skip_encode}
            content = encode_body(encoded, _FORM).content
            as_is = [
                f"{quote_plus(name)}={_flat(value)}"
                for name, value in params.items()
                if name not in encoded
            ]
            parts = [part for part in (content, *(text.encode() for text in as_is)) if part]
            return RequestBody(b"&".join(parts), content_type or _FORM)


def _flat(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return encode_body(value, None).content.decode()
    return str(value)


def _decoded(raw: RawResponse) -> JsonValue:
    body, is_base64 = decode_body(raw.content, raw.headers)
    if is_base64 or not isinstance(body, str) or "json" in raw.headers.get("content-type", ""):
        return body
    text = decode_text(raw.content, raw.headers).strip()
    if text.startswith("<"):
        try:
            found: Any = xmltodict.parse(text)
        except (ExpatError, ValueError):
            # No XML after all, or XML with entities, which are not expanded.
            return text
        return found if isinstance(found, dict) else text
    if text[:1] in {"{", "["}:
        # JSON that is declared as something else.
        return decode_body(raw.content, {}, "json")[0]
    if _FORM_ANSWER.fullmatch(text):
        return dict(parse_qsl(text, keep_blank_values=True))
    return text


def _told(body: JsonValue) -> tuple[str | None, str | None]:
    """Return what an answer calls its error and how it describes it."""
    if not isinstance(body, dict):
        return None, None
    error = body.get("error") or body.get("error_code") or body.get("errorCode")
    description = (
        body.get("error_description")
        or body.get("error_message")
        or body.get("errorMessage")
        or body.get("message")
        or body.get("detail")
    )
    if isinstance(error, dict):
        description = error.get("message") or error.get("description") or description
        error = error.get("type") or error.get("code")
    return (
        str(error) if isinstance(error, str | int) and not isinstance(error, bool) else None,
        description if isinstance(description, str) else None,
    )


def _seconds(value: str | None) -> float | None:
    text = (value or "").strip()
    return float(text) if text.isdecimal() else None
