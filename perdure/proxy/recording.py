"""Requests and answers as a fixture keeps them: without secrets, found again by what is asked.

What keeps them and what plays them back must agree on how a request is named, so both ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import JsonValue

from perdure.proxy.bodies import decode_body, decode_text
from perdure.proxy.exchange import RawResponse
from perdure.proxy.redaction import MASK, Redactor, is_sensitive_name
from perdure.proxy.requests import HttpRequest
from perdure.proxy.urls import query_pairs

__all__ = ["Asked", "asked_by", "asked_of_url", "recorded"]

_KEPT_HEADERS = frozenset({"content-type", "etag", "last-modified", "link", "retry-after"})
_KEPT_PREFIXES = ("x-rate", "ratelimit", "x-total")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for.

    Attributes:
        path: As the script wrote it, or that of the link that leads to a further page.
        params: Of the query, in both; a name that comes more than once has a list.
    """

    method: str
    path: str
    params: Mapping[str, str | list[str]]


def asked_by(request: HttpRequest) -> Asked:
    """Return what a request asks for."""
    if request.next_link is not None:
        return asked_of_url(request.method, request.next_link, absolute=False)
    path, _, query = request.endpoint.partition("?")
    pairs = [*parse_qsl(query, keep_blank_values=True), *query_pairs(request.params)]
    return Asked(request.method, path, _params(pairs))


def asked_of_url(method: str, url: str, *, absolute: bool = True) -> Asked:
    """Return what a request to a URL asks for.

    Args:
        method: HTTP method.
        url: The URL.
        absolute: Whether its origin counts.
    """
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.hostname or ''}" if absolute else ""
    if absolute and parts.port:
        origin += f":{parts.port}"
    query = parse_qsl(parts.query, keep_blank_values=True)
    return Asked(method, f"{origin}{parts.path}", _params(query))


def recorded(
    asked: Asked, raw: RawResponse, redactor: Redactor, *, as_bytes: bool
) -> dict[str, Any]:
    """Return a request with its answer.

    Args:
        asked: The request.
        raw: The answer.
        redactor: Masks secrets in both.
        as_bytes: Whether the body was asked for as bytes.
    """
    if as_bytes:
        data, is_base64 = decode_body(raw.content, raw.headers, "arraybuffer")
    else:
        data, is_base64 = _decoded(raw, redactor)
    headers = {name: value for name, value in raw.headers.items() if _is_kept(name)}
    return {
        "method": asked.method,
        "path": redactor.text(asked.path),
        "params": _masked(asked.params, redactor),
        "status": raw.status,
        "headers": redactor.headers(headers),
        "response": data,
        "is_base64": is_base64,
    }


def _decoded(raw: RawResponse, redactor: Redactor) -> tuple[JsonValue, bool]:
    data, is_base64 = decode_body(raw.content, raw.headers)
    if is_base64:
        return data, True
    text = redactor.text(decode_text(raw.content, raw.headers))
    media_type = raw.headers.get("content-type", "").partition(";")[0]
    return decode_body(text.encode(), {"content-type": media_type})


def _is_kept(name: str) -> bool:
    return name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIXES)


def _masked(
    params: Mapping[str, str | list[str]], redactor: Redactor
) -> dict[str, str | list[str]]:
    return {
        name: [redactor.text(text) for text in value]
        if isinstance(value, list)
        else redactor.text(value)
        for name, value in params.items()
    }


def _params(pairs: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(MASK if is_sensitive_name(name) else value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
