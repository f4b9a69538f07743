"""Providers' APIs with a connection's credentials, below `/proxy`.

What comes below `/proxy` goes to the provider as it is: method, path, query, body, and the headers
that are called `nango-proxy-<name>`. Its answer comes back as it is, whatever its status. Both
bodies pass through piece by piece, so that neither their size nor their speed matters here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response
from pydantic import BeforeValidator, Field

from activities.connections import ConnectionRef
from api.dependencies import Caller, CallerAccess, Deps
from api.passing import CallerPieces, Limits, PassedAnswer
from api.proxy_calls import Proxied, ProxyCalls
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from perdure.proxy.bodies import RequestBody
from perdure.proxy.client import ProxyClient
from perdure.proxy.headers import caller_headers
from perdure.proxy.requests import METHODS, HttpRequest
from perdure.proxy.streaming import PassingBody

__all__ = ["router"]

_PREFIX = "/proxy"
_SIGNED = 1024 * 1024
"""Forms up to this size are read first: where requests are signed, so are their fields."""

_FORM = "application/x-www-form-urlencoded"
_ABSOLUTE = re.compile(r"/https?://", re.IGNORECASE)

router = APIRouter(prefix=_PREFIX)


def _numbers(value: object) -> object:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        return value
    return [part.strip() for text in texts for part in str(text).split(",") if part.strip()]


def _or_nothing(value: object) -> object:
    # Clients send what was not set as an empty header.
    return 0 if value == "" else value


Status = Annotated[int, Field(ge=100, le=599)]
RetryOn = Annotated[tuple[Status, ...], BeforeValidator(_numbers), Header(alias="retry-on")]


@router.api_route("/{path:path}", methods=[*METHODS], include_in_schema=False)
async def proxy(
    request: Request,
    deps: Deps,
    caller: Caller,
    access: CallerAccess,
    *,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    retries: Annotated[int, BeforeValidator(_or_nothing), Header(ge=0, le=100)] = 0,
    retry_on: RetryOn = (),
    base_url_override: Annotated[str | None, Header()] = None,
    decompress: Annotated[bool, BeforeValidator(_or_nothing), Header()] = False,
    forward_headers_on_redirect: Annotated[bool, BeforeValidator(_or_nothing), Header()] = False,
) -> Response:
    """Call the provider's API."""
    if base_url_override or forward_headers_on_redirect:
        # Either has the credentials sent to another host, where the caller could read them.
        access.require("environment:connections:read_credentials")
    settings = deps.settings
    headers = caller_headers(request.headers.raw)
    # The body is passed on as it is, so what describes it belongs to it.
    for name in ("content-type", "content-encoding"):
        if name in request.headers:
            headers.setdefault(name, request.headers[name])
    # The caller gets the body as the provider sent it, so it says which compression it can read.
    accepted = "gzip, deflate" if decompress else request.headers.get("accept-encoding", "identity")
    headers.setdefault("accept-encoding", accepted)
    call = HttpRequest(
        method=request.method,
        endpoint=_endpoint(request),
        headers=headers,
        retries=retries,
        retry_on=retry_on,
        base_url_override=base_url_override or None,
        decompress=decompress,
        forward_headers_on_redirect=forward_headers_on_redirect,
        timeout_s=min(settings.proxy_silence_seconds, 3600),
    )
    ref = ConnectionRef(
        environment_id=caller.id, integration=integration, connection_id=connection_id
    )
    calls = ProxyCalls(deps.connections, ProxyClient(deps.transport))

    @asynccontextmanager
    async def begin(pieces: CallerPieces) -> AsyncGenerator[Proxied, None]:
        async with AsyncExitStack() as stack:
            body: RequestBody | PassingBody | None = None
            content_type, length = headers.get("content-type"), _length(request)
            if length is not None and length <= _SIGNED and _is_form(content_type):
                content = b"".join([piece async for piece in pieces])
                body = RequestBody(content, content_type) if content else None
            elif has_body:
                body = PassingBody(
                    pieces, content_type=content_type, length=length, keep=retries > 0
                )
                stack.push_async_callback(body.aclose)
            yield await stack.enter_async_context(calls.open(ref, call, body))

    has_body = _length(request) != 0
    return PassedAnswer(
        begin,
        has_body=has_body,
        limits=Limits(
            silence=settings.proxy_silence_seconds,
            whole=settings.proxy_limit_seconds,
            max_bytes=settings.proxy_max_body_mb * 1024 * 1024,
        ),
    )


def _endpoint(request: Request) -> str:
    """Return what comes below `/proxy`, as it is written."""
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = _text(raw).removeprefix(_PREFIX)
    if _ABSOLUTE.match(path):
        path = path.removeprefix("/")
    query = _text(request.scope["query_string"])
    return f"{path}?{query}" if query else path


def _is_form(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == _FORM


def _length(request: Request) -> int | None:
    """Return how many bytes the body has, None if nobody knows yet."""
    if "transfer-encoding" in request.headers:
        return None
    return int(request.headers.get("content-length", "0"))


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
