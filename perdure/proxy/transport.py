"""The one place that speaks HTTP.

One attempt: connections are kept alive and shared, every wait has a limit, bodies have a maximal
size, and each connection goes to an address that the guard let through, also after a redirect.
There is no cookie jar, so nothing of one customer's session can reach another's.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Self

import aiohttp
import httpx
from yarl import URL

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
from perdure.proxy.sockets import CONNECT_TIMEOUT_S, guarded_connector
from perdure.proxy.ssrf import AddressGuard, check_host, check_port
from perdure.proxy.urls import split_url

__all__ = ["HttpTransport"]

_MAX_REDIRECTS = 5
_MAX_HEADER_BYTES = 65_536
_MAX_HEADERS = 256
_BUFFERED_BYTES = 262_144
"""Bytes that wait to be read before the other side is made to wait."""
_AT_ONCE = 65_536
"""Bytes of a body that are sent without looking whether they get through."""

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# Of `expect` the library would wait for what many servers do not say.
_OUR_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})
_NOT_ADDED = ("accept", "accept-encoding", "content-type", "user-agent")
"""Headers that the library would send of its own accord."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_HEADER_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


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
        trusted = ssl_context or httpx.create_ssl_context()
        trusted.set_alpn_protocols(["http/1.1"])
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(
                guard, max_connections=max_connections, ssl_context=trusted
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            auto_decompress=False,
            read_bufsize=_BUFFERED_BYTES,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            max_headers=_MAX_HEADERS,
        )
        # Whether what may have been carried out is asked for once more, others decide.
        self._session._retry_connection = False

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
        await self._session.close()

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
            async with asyncio.timeout(patience) as limit:
                upload = None if isinstance(content, bytes) else _Upload(content, patience, limit)
                try:
                    response = await self._session.request(
                        request.method,
                        url,
                        headers=headers,
                        data=(content if upload is None else upload.pieces()) or None,
                        allow_redirects=False,
                        timeout=_timeouts(patience),
                    )
                except Exception:
                    if upload is not None and upload.failure is not None:
                        raise upload.failure from None
                    raise
                finally:
                    if upload is not None:
                        upload.limit = None
            told(response.status)
        try:
            yield _Incoming(response)
        finally:
            response.close()

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
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        return self._response.raw_headers

    @cached_property
    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for raw_name, raw_text in self._response.raw_headers:
            name, text = raw_name.decode("ascii").lower(), raw_text.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        return headers

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        content = self._response.content
        while True:
            # Not around the `yield`: what fails there is not the connection's fault.
            with _named_failures():
                piece = await content.readany()
            if not piece:
                return
            yield piece


class _Upload:
    """The body of a request on its way.

    Attributes:
        limit: Until when a piece has to be on its way, and the answer there behind the last one;
            none while the source is waited for. None once the answer is there.
        failure: What the source failed with.
    """

    def __init__(
        self, source: AsyncIterable[bytes], patience: float, limit: asyncio.Timeout
    ) -> None:
        self.limit: asyncio.Timeout | None = limit
        self.failure: Exception | None = None
        self._source = source
        self._patience = patience
        self._clock = asyncio.get_running_loop().time

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        self._end_at(None)
        try:
            async for piece in self._source:
                self._end_at(self._clock() + self._patience)
                yield piece
                self._end_at(None)
        except Exception as error:
            self.failure = error
            raise
        self._end_at(self._clock() + self._patience)

    def _end_at(self, when: float | None) -> None:
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(when)


async def _slices(content: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), _AT_ONCE):
        yield content[start : start + _AT_ONCE]


@lru_cache
def _timeouts(patience: float) -> aiohttp.ClientTimeout:
    # A little less than all, so that a connection that does not come about is known as such.
    until_connected = 0.9 * patience
    return aiohttp.ClientTimeout(
        connect=until_connected,
        sock_connect=min(CONNECT_TIMEOUT_S, until_connected),
        sock_read=patience,
        ceil_threshold=math.inf,
    )


def _on_the_wire(
    request: OutgoingRequest,
) -> tuple[URL, dict[str, str], bytes | AsyncIterable[bytes]]:
    """Return the URL, the headers and the body as they are sent."""
    headers = {name: text for name, text in request.headers.items() if name not in _OUR_HEADERS}
    content, length = _content(request.body, headers)
    if length is not None and (length or request.method in _METHODS_WITH_BODY):
        headers["content-length"] = str(length)
    url = _checked_url(request.url)
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name) or _NO_HEADER_TEXT.search(text):
            raise _unsendable()
    netloc = url.netloc.decode("ascii")
    target = f"{url.scheme}://{netloc}{url.raw_path.decode('ascii')}"
    if isinstance(content, bytes) and len(content) > _AT_ONCE:
        content = _slices(content)
    return URL(target, encoded=True), {"host": netloc, **headers}, content


def _content(
    body: RequestBody | BodyStream | None, headers: dict[str, str]
) -> tuple[bytes | AsyncIterable[bytes], int | None]:
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
    """Turn the library's exceptions into what the retry decision needs to know.

    Without their causes: some quote the URL or the headers, which may hold a key.
    """
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        reason = error.certificate_error
        words = reason.verify_message if isinstance(reason, ssl.SSLCertVerificationError) else ""
        raise NetworkError(
            NetworkFailure.UNTRUSTED_CERTIFICATE,
            f"its certificate is not trusted: {words or reason}",
        ) from None
    except aiohttp.ClientConnectorError as error:
        raise _not_connected(error.os_error) from None
    except aiohttp.ConnectionTimeoutError:
        raise _not_connected(TimeoutError("it took too long")) from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise _unsendable() from None
    except TimeoutError:
        raise _interrupted("it took too long") from None
    except aiohttp.ClientOSError as error:
        words = os.strerror(error.errno) if error.errno else "it was closed"
        raise _interrupted(words) from None
    except aiohttp.ServerDisconnectedError:
        raise _interrupted("the server closed it") from None
    except aiohttp.ClientPayloadError:
        raise _interrupted("the body is not complete") from None
    except aiohttp.ClientResponseError:
        # Why the parser does not say but in a text that quotes the answer.
        raise NetworkError(
            NetworkFailure.INTERRUPTED,
            "the answer is no HTTP that can be read, as one with two Content-Length headers: "
            "`curl -i` shows what it is, and whoever runs the server can mend it",
        ) from None
    except aiohttp.ClientError as error:
        raise _interrupted(type(error).__name__) from None


def _not_connected(error: OSError) -> NetworkError:
    words = error.strerror or str(error) or type(error).__name__
    return NetworkError(NetworkFailure.NOT_CONNECTED, f"no connection came about ({words})")


def _interrupted(words: str) -> NetworkError:
    return NetworkError(NetworkFailure.INTERRUPTED, f"the connection broke off ({words})")


@contextmanager
def _nobody(_: OutgoingRequest) -> Iterator[Callable[[int], None]]:
    yield _unheard


def _unheard(_: int) -> None: ...


def _unsendable() -> InvalidInputError:
    return InvalidInputError(
        "The URL or a header of the request has characters that HTTP does not allow, such as a "
        "line break.",
        code="invalid_headers",
    )
