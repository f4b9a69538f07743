"""The one place that speaks HTTP.

One attempt: connections are kept alive and shared, every wait has a limit, bodies have a maximal
size, and each connection goes to an address that the guard let through, also after a redirect.
There is no cookie jar, so nothing of one customer's session can reach another's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Self, cast

import httpcore
import httpx

from perdure.errors import InvalidInputError
from perdure.proxy.bodies import RequestBody
from perdure.proxy.compression import DecompressionError, decompressed, encoding_of
from perdure.proxy.exchange import (
    BodyStream,
    IncomingResponse,
    NetworkError,
    OutgoingRequest,
    RawResponse,
    Watch,
)
from perdure.proxy.redirects import redirected
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.sockets import CONNECT_TIMEOUT_S, GuardedBackend
from perdure.proxy.ssrf import AddressGuard, check_host, check_port
from perdure.proxy.urls import split_url

__all__ = ["HttpTransport"]

_MAX_REDIRECTS = 5
_KEEPALIVE_S = 4.0
"""Below the 5 seconds after which common servers close: a request must not meet that moment."""

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_OUR_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class HttpTransport:
    """Speaks HTTP/1.1 over a pool of connections; close it, or use it as a context manager.

    Args:
        guard: Judges the addresses that are connected to.
        max_connections: Connections at the same time.
        max_body_bytes: Largest body of an answer that `send` returns, decompressed.
        ssl_context: Trusted certificates; those of the `certifi` package by default, or what
            `SSL_CERT_FILE` names.
        watch: Is told of every request.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        max_connections: int = 500,
        max_body_bytes: int = 100 * 1024 * 1024,
        ssl_context: ssl.SSLContext | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._watch = watch or _nobody
        self._max_body_bytes = max_body_bytes
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(),
            max_connections=max_connections,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=GuardedBackend(guard),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def send(self, request: OutgoingRequest) -> RawResponse:
        """Return the answer to a request, following at most five redirects where it may.

        Raises:
            NetworkError: If there was no complete answer.
            InvalidInputError: With code `url_not_allowed` if an address may not be connected to,
                `invalid_url` or `invalid_headers` if the request cannot be written.
        """
        try:
            async with asyncio.timeout(request.timeout_s), self.open(request) as incoming:
                body = await self._read(request, incoming)
        except TimeoutError as error:
            raise NetworkError(
                NetworkFailure.INTERRUPTED,
                f"there was no complete answer within {request.timeout_s:g} s",
            ) from error
        return RawResponse(status=incoming.status, headers=incoming.headers, content=body)

    @asynccontextmanager
    async def open(self, request: OutgoingRequest) -> AsyncGenerator[IncomingResponse, None]:
        """Return the answer to a request once its headers are there, redirects as in `send`.

        Leaving the context closes the connection, unless the answer was read to its end.

        Raises:
            NetworkError: If there was none.
            InvalidInputError: As `send`.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._exchange(request) as incoming:
                following = None
                if request.follow_redirects:
                    following = redirected(request, incoming.status, incoming.headers)
                if following is None:
                    yield incoming
                    return
            request = following
        raise NetworkError(
            NetworkFailure.TOO_MANY_REDIRECTS, f"it redirected more than {_MAX_REDIRECTS} times"
        )

    @asynccontextmanager
    async def _exchange(self, request: OutgoingRequest) -> AsyncGenerator[_Incoming, None]:
        url, headers, content = _on_the_wire(request)
        patience = request.timeout_s
        with self._watch(request) as told, _named_failures():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=url.raw_scheme,
                        host=url.raw_host,
                        port=url.port,
                        target=url.raw_path,
                    ),
                    headers=headers,
                    content=content,
                    extensions={
                        "timeout": {
                            # A little less than all, so that a connection that does not come
                            # about is known as such.
                            "connect": min(CONNECT_TIMEOUT_S, 0.9 * patience),
                            "pool": 0.9 * patience,
                            "read": patience,
                            "write": patience,
                        }
                    },
                )
            )
            told(response.status)
        try:
            yield _Incoming(response)
        finally:
            await response.aclose()

    async def _read(self, request: OutgoingRequest, incoming: IncomingResponse) -> bytes:
        # The headers of an answer to HEAD describe a body that does not come.
        headers = {} if request.method == "HEAD" else incoming.headers
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        encoding = encoding_of(headers.get("content-encoding"))
        try:
            async with (
                aclosing(incoming.pieces()) as pieces,
                # A layer that only hands on would cost each piece.
                aclosing(decompressed(pieces, encoding) if encoding else pieces) as plain,
            ):
                async for chunk in plain:
                    size += len(chunk)
                    if size > self._max_body_bytes:
                        raise self._too_large()
                    chunks.append(chunk)
        except DecompressionError as error:
            raise NetworkError(NetworkFailure.INTERRUPTED, str(error)) from error
        return b"".join(chunks)

    def _too_large(self) -> NetworkError:
        return NetworkError(
            NetworkFailure.TOO_LARGE,
            f"the body is larger than {self._max_body_bytes / 1024 / 1024:g} MB; ask for less at "
            "once",
        )


class _Incoming:
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        return self._response.headers

    @cached_property
    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for raw_name, raw_text in self._response.headers:
            name, text = raw_name.decode("ascii").lower(), raw_text.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        return headers

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        stream = cast("AsyncGenerator[bytes, None]", self._response.aiter_stream())
        async with aclosing(stream) as pieces:
            while True:
                # Not around the `yield`: what fails there is not the connection's fault.
                with _named_failures():
                    try:
                        piece = await anext(pieces)
                    except StopAsyncIteration:
                        return
                yield piece


def _on_the_wire(
    request: OutgoingRequest,
) -> tuple[httpx.URL, list[tuple[bytes, bytes]], bytes | AsyncIterable[bytes]]:
    """Return the URL, the headers and the body as they are sent."""
    headers = {name: text for name, text in request.headers.items() if name not in _OUR_HEADERS}
    content, length = _content(request.body, headers)
    if length is None:
        headers["transfer-encoding"] = "chunked"
    elif length or request.method in _METHODS_WITH_BODY:
        headers["content-length"] = str(length)
    url = _checked_url(request.url)
    try:
        written = [(name.encode("ascii"), text.encode()) for name, text in headers.items()]
    except UnicodeEncodeError:
        # Without the cause, whose text quotes the header.
        raise _unsendable() from None
    return url, [(b"host", url.netloc), *written], content


def _content(
    body: RequestBody | BodyStream | None, headers: dict[str, str]
) -> tuple[bytes | AsyncIterator[bytes], int | None]:
    """Return a body and its length, and set its type in the headers."""
    if body is None:
        return b"", 0
    if body.content_type is not None:
        headers["content-type"] = body.content_type
    if not isinstance(body, RequestBody):
        return body.pieces(), body.length
    if body.content_type is None and body.fields:
        fields = [(name, (None, text.encode())) for name, text in body.fields]
        form = httpx.Request("POST", "http://form.invalid", files=fields)
        headers["content-type"] = form.headers["content-type"]
        content = form.read()
        return content, len(content)
    return body.content, len(body.content)


def _checked_url(text: str) -> httpx.URL:
    """Return a URL whose host is well formed and the same to all who read it.

    Raises:
        InvalidInputError: With code `invalid_url` or `url_not_allowed`.
    """
    parts = split_url(text)
    try:
        url = httpx.URL(text)
        agreed = _host_on_the_wire(parts.hostname or "")
    except httpx.InvalidURL:
        # Without the cause, whose text may quote a URL with a key in it.
        raise _unsendable() from None
    default = 443 if parts.scheme == "https" else 80
    if (url.scheme, url.raw_host, url.port or default) != (
        parts.scheme,
        agreed,
        parts.port or default,
    ):
        raise _unsendable()
    check_port(url.port or default)
    return url


@lru_cache(maxsize=4096)
def _host_on_the_wire(hostname: str) -> bytes:
    bracketed = f"[{hostname}]" if ":" in hostname else hostname
    host = httpx.URL(f"http://{bracketed}").raw_host
    check_host(host.decode("ascii"))
    return host


@contextmanager
def _named_failures() -> Iterator[None]:
    """Turn the library's exceptions into what the retry decision needs to know."""
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
        # httpcore makes its exceptions from the original ones, which it cuts off as their cause.
        if error.args and isinstance(error.args[0], ssl.SSLCertVerificationError):
            raise NetworkError(
                NetworkFailure.UNTRUSTED_CERTIFICATE,
                f"its certificate is not trusted: {error.args[0].verify_message}",
            ) from error
        raise NetworkError(
            NetworkFailure.NOT_CONNECTED, f"no connection came about ({_words(error)})"
        ) from error
    except httpcore.LocalProtocolError:
        # Without the cause, whose text quotes the header.
        raise _unsendable() from None
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
    ) as error:
        raise NetworkError(
            NetworkFailure.INTERRUPTED, f"the connection broke off ({_words(error)})"
        ) from error


@contextmanager
def _nobody(_: OutgoingRequest) -> Iterator[Callable[[int], None]]:
    yield _unheard


def _unheard(_: int) -> None: ...


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _unsendable() -> InvalidInputError:
    return InvalidInputError(
        "The URL or a header of the request has characters that HTTP does not allow, such as a "
        "line break.",
        code="invalid_headers",
    )
