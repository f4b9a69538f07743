"""What a redirect asks for, and what must stay behind when it leaves the origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import SplitResult, urljoin

from perdure.errors import InvalidInputError
from perdure.proxy.bodies import RequestBody
from perdure.proxy.exchange import NetworkError, OutgoingRequest
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.urls import origin, split_url

__all__ = ["HARMLESS_HEADERS", "harmless", "redirected"]

HARMLESS_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-type",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "prefer",
        "range",
        "user-agent",
    }
)
"""All that another origin gets to see: no rule tells which of the others hold a secret."""

_STATUSES = frozenset({301, 302, 303, 307, 308})
_BODY_HEADERS = frozenset(
    {"content-type", "content-length", "content-encoding", "transfer-encoding"}
)


def harmless(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that may go to another origin than the credentials'.

    Args:
        headers: By lower-case name.
    """
    return {name: text for name, text in headers.items() if name in HARMLESS_HEADERS}


def redirected(
    request: OutgoingRequest, status: int, answer_headers: Mapping[str, str]
) -> OutgoingRequest | None:
    """Return the request that a redirect asks for, None if the answer is no redirect.

    Another origin gets no credentials, unless the request allows it. A POST that is answered by
    301 or 302, and everything but HEAD that is answered by 303, goes on as GET without a body. A
    redirect that wants a body which cannot be sent again is an answer like any other.

    Raises:
        NetworkError: If the redirect does not lead to a URL of http or https.
    """
    location = answer_headers.get("location")
    if status not in _STATUSES or not location:
        return None
    here = split_url(request.url)
    try:
        there = split_url(urljoin(request.url, location))
    except (InvalidInputError, ValueError) as error:
        raise NetworkError(
            NetworkFailure.BAD_REDIRECT, "it redirected to something that is no URL of http(s)"
        ) from error
    headers = dict(request.headers)
    method, body = request.method, request.body
    to_get = status == 303 or (status in {301, 302} and method == "POST")
    if to_get and method != "HEAD":
        method, body = "GET", None
        headers = {name: text for name, text in headers.items() if name not in _BODY_HEADERS}
    elif body is not None and not isinstance(body, RequestBody) and not body.repeatable:
        return None
    if not request.forward_headers_on_redirect and not _keeps_origin(here, there):
        headers = {
            name: text
            for name, text in harmless(headers).items()
            if name not in request.secret_headers
        }
    return replace(request, method=method, url=there.geturl(), headers=headers, body=body)


def _keeps_origin(here: SplitResult, there: SplitResult) -> bool:
    """Return whether both are one origin, or the second only adds TLS to the same host."""
    if origin(here) == origin(there):
        return True
    adds_tls = origin(here)[::2] == ("http", 80) and origin(there)[::2] == ("https", 443)
    return adds_tls and here.hostname == there.hostname
