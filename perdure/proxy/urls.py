"""Which URL a request goes to, and whether the connection's credentials may go there with it.

Credentials go to the origin (scheme, host, port) of the base URL and to no other: an endpoint
elsewhere is refused, and a link that a provider's answer names elsewhere is followed without them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import (
    SplitResult,
    parse_qsl,
    quote,
    unquote_plus,
    urlencode,
    urlsplit,
    urlunsplit,
)

from perdure.errors import InvalidInputError
from perdure.proxy.requests import HttpRequest, Params

__all__ = [
    "Target",
    "add_query",
    "check_base_url",
    "drop_query",
    "origin",
    "query_names",
    "query_pairs",
    "resolve",
    "split_url",
]

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ENDS_HOST_EARLY = re.compile(r"[\\\s@]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        url: Absolute, with the request's own query.
        trusted: Whether the connection's credentials may be sent.
    """

    url: str
    trusted: bool


def split_url(url: str) -> SplitResult:
    """Take a URL apart.

    Raises:
        InvalidInputError: With code `invalid_url`, if it is not http(s) or not well formed.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        # Without the cause, whose text may quote a password.
        raise InvalidInputError(
            "The base URL, the endpoint or a link to the next page is not a well-formed URL.",
            code="invalid_url",
        ) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidInputError(
            f"{_bare(parts)!r} is not a URL of http or https with a host.", code="invalid_url"
        )
    if parts.port == 0:
        raise InvalidInputError("No server has the port 0.", code="invalid_url")
    if _ENDS_HOST_EARLY.search(parts.netloc):
        raise InvalidInputError(
            f"The host of the URL of {parts.hostname!r} has a character that hosts do not have. "
            "User names and passwords belong into a connection.",
            code="invalid_url",
        )
    return parts


def origin(parts: SplitResult) -> tuple[str, str | None, int]:
    """Return scheme, host and port of a URL: what credentials are bound to."""
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname, parts.port or default


def check_base_url(url: str) -> str:
    """Return a base URL without its last slashes.

    Raises:
        InvalidInputError: With code `invalid_url`, if it is not http(s) or not well formed.
    """
    return urlunsplit(split_url(url)).rstrip("/")


def resolve(request: HttpRequest, base_url: str) -> Target:
    """Return where a request goes.

    Args:
        request: Its `next_link` wins over `endpoint` and `params`.
        base_url: The provider's base URL or the request's override, checked.

    Raises:
        InvalidInputError: With code `invalid_url`, if the endpoint is a URL outside the base URL
            or a URL is not well formed.
    """
    base = split_url(base_url)
    if request.next_link is not None:
        return _link_target(request.next_link.strip(), request.endpoint, base)
    endpoint = request.endpoint.strip()
    if _ABSOLUTE.match(endpoint):
        url = split_url(endpoint)
        if origin(url) != origin(base):
            raise InvalidInputError(
                f"The endpoint {_bare(url)!r} is not below the provider's base URL "
                f"{_bare(base)!r}. Set base_url_override to send the request, and with it the "
                "connection's credentials, to another host.",
                code="invalid_url",
            )
        joined = urlunsplit(url._replace(fragment=""))
    else:
        joined = _join(base, endpoint)
    if isinstance(request.params, str):
        return Target(_with_query(joined, request.params.removeprefix("?")), trusted=True)
    return Target(add_query(joined, query_pairs(request.params)), trusted=True)


def query_pairs(params: Params) -> list[tuple[str, str]]:
    """Return the names and values of a query, in order."""
    if isinstance(params, str):
        return parse_qsl(params.removeprefix("?"), keep_blank_values=True)
    return [
        (name, _text(value))
        for name, values in params.items()
        for value in (values if isinstance(values, list) else (values,))
        if value is not None
    ]


def add_query(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Add names and values to the query of a URL, which keeps what it has as it is written."""
    return _with_query(url, urlencode(list(pairs), quote_via=quote))


def query_names(url: str) -> frozenset[str]:
    """Return the names in the query of a URL."""
    return frozenset(name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True))


def drop_query(url: str, names: Collection[str]) -> str:
    """Remove parameters from the query of a URL, whose rest stays as it is written."""
    before, question_mark, rest = url.partition("?")
    if not names or not question_mark:
        return url
    query, hash_mark, fragment = rest.partition("#")
    kept = [part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in names]
    return f"{before}{'?' if kept else ''}{'&'.join(kept)}{hash_mark}{fragment}"


def _with_query(url: str, added: str) -> str:
    if not added:
        return url
    separator = "&" if "?" in url else "?"
    return f"{url}{'' if url.endswith(('?', '&')) else separator}{added}"


def _link_target(link: str, endpoint: str, base: SplitResult) -> Target:
    if link.startswith("//"):
        link = f"{base.scheme}:{link}"
    if not _ABSOLUTE.match(link):
        if link.startswith("?"):
            return Target(_join(base, endpoint.partition("?")[0] + link), trusted=True)
        below = base.path.rstrip("/")
        # A path from the root that repeats the base's own is meant from the host, as in
        # base https://api.test/v2 and link /v2/items?page=2.
        if below and (link == below or link.startswith((f"{below}/", f"{below}?"))):
            base = base._replace(path="")
        return Target(_join(base, link), trusted=True)
    url = split_url(link)._replace(fragment="")
    if base.scheme == "https" and url.scheme == "http" and url.netloc == base.netloc:
        # Servers behind a proxy that ends TLS often name themselves by http.
        url = url._replace(scheme="https")
    return Target(urlunsplit(url), trusted=origin(url) == origin(base))


def _join(base: SplitResult, endpoint: str) -> str:
    path, question_mark, query = endpoint.partition("#")[0].partition("?")
    prefix = base.path.rstrip("/")
    joined = f"{prefix}/{path.lstrip('/')}" if path or not prefix else prefix
    whole_query = "&".join(part for part in (base.query, query) if part)
    mark = question_mark or ("?" if whole_query else "")
    return f"{base.scheme}://{base.netloc}{joined}{mark}{whole_query}"


def _bare(parts: SplitResult) -> str:
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
