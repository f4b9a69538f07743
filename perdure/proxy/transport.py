"""The one place that speaks HTTP.

One attempt: connections are kept alive and shared, every wait has a limit, bodies have a maximal
size, and each connection goes to an address that the guard let through, also after a redirect.
There is no cookie jar, so nothing of one customer's session can reach another's.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import Self

import httpcore
import httpx

from perdure.errors import InvalidInputError
from perdure.proxy.exchange import NetworkError, OutgoingRequest, RawResponse
from perdure.proxy.redirects import redirected
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.ssrf import AddressGuard

__all__ = ["HttpTransport"]

_MAX_REDIRECTS = 5
_CONNECT_TIMEOUT_S = 10.0
_KEEPALIVE_S = 4.0
"""Below the 5 seconds after which common servers close: a request must not meet that moment."""

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_OUR_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class HttpTransport:
    """Speaks HTTP/1.1 over a pool of connections; close it, or use it as a context manager.

    Args:
        guard: Judges the addresses that are connected to.
        max_connections: Connections at the same time.
        max_body_bytes: Largest body of an answer, decompressed.
        ssl_context: Trusted certificates; those of the `certifi` package by default, or what
            `SSL_CERT_FILE` names.
    """

    def __init__(
        self,
        guard: AddressGuard,
        *,
        max_connections: int = 500,
        max_body_bytes: int = 100 * 1024 * 1024,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._max_body_bytes = max_body_bytes
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(),
            max_connections=max_connections,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=_GuardedBackend(guard),
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
            async with asyncio.timeout(request.timeout_s):
                return await self._follow(request)
        except TimeoutError as error:
            raise NetworkError(
                NetworkFailure.INTERRUPTED,
                f"there was no complete answer within {request.timeout_s:g} s",
            ) from error

    async def _follow(self, request: OutgoingRequest) -> RawResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._exchange(request)
            if not request.follow_redirects:
                return response
            if (following := redirected(request, response)) is None:
                return response
            request = following
        raise NetworkError(
            NetworkFailure.TOO_MANY_REDIRECTS, f"it redirected more than {_MAX_REDIRECTS} times"
        )

    async def _exchange(self, request: OutgoingRequest) -> RawResponse:
        url, headers, content = _on_the_wire(request)
        patience = request.timeout_s
        with _named_failures():
            incoming = await self._pool.handle_async_request(
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
                            "connect": min(_CONNECT_TIMEOUT_S, 0.9 * patience),
                            "pool": 0.9 * patience,
                            "read": patience,
                            "write": patience,
                        }
                    },
                )
            )
            try:
                received = _headers(incoming)
                # The headers of an answer to HEAD describe a body that does not come.
                body = await self._read(incoming, {} if request.method == "HEAD" else received)
            finally:
                await incoming.aclose()
        return RawResponse(status=incoming.status, headers=received, content=body)

    async def _read(self, incoming: httpcore.Response, headers: Mapping[str, str]) -> bytes:
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        async with aclosing(_decompressed(incoming, headers)) as stream:
            async for chunk in stream:
                size += len(chunk)
                if size > self._max_body_bytes:
                    raise self._too_large()
                chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self) -> NetworkError:
        return NetworkError(
            NetworkFailure.TOO_LARGE,
            f"the body is larger than {self._max_body_bytes / 1024 / 1024:g} MB; ask for less at "
            "once",
        )


class _Received(httpx.AsyncByteStream):
    """Hands a body to httpx, which knows how to decompress it."""

    def __init__(self, incoming: httpcore.Response) -> None:
        self._incoming = incoming

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._incoming.aiter_stream():
            yield chunk


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to judged addresses; TLS still goes by the name in the URL."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        clock = asyncio.get_running_loop().time
        deadline = clock() + (timeout or _CONNECT_TIMEOUT_S)
        addresses = await self._resolve(host, port, deadline - clock())
        failure: Exception = httpcore.ConnectError("the host has no address")
        for index, address in enumerate(addresses):
            # Each address gets its share, so that one that swallows packets leaves time for others.
            share = max(deadline - clock(), 0.001) / (len(addresses) - index)
            try:
                return await self._sockets.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _resolve(self, host: str, port: int, limit: float) -> list[str]:
        try:
            async with asyncio.timeout(limit):
                return await self._guard.addresses(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise httpcore.ConnectError("names cannot be resolved at present") from error
            raise NetworkError(NetworkFailure.UNKNOWN_HOST, f"there is no host {host!r}") from error
        except OSError as error:
            raise httpcore.ConnectError("the name could not be resolved") from error


def _on_the_wire(request: OutgoingRequest) -> tuple[httpx.URL, list[tuple[bytes, bytes]], bytes]:
    """Return the URL, the headers and the body as they are sent."""
    headers = {name: text for name, text in request.headers.items() if name not in _OUR_HEADERS}
    body = request.body
    content = b""
    if body is not None and body.content_type is not None:
        content = body.content
        headers["content-type"] = body.content_type
    elif body is not None:
        fields = [(name, (None, text.encode())) for name, text in body.fields]
        form = httpx.Request("POST", "http://form.invalid", files=fields)
        content = form.read()
        headers |= {"content-type": form.headers["content-type"]} if fields else {}
    if content or request.method in _METHODS_WITH_BODY:
        headers["content-length"] = str(len(content))
    try:
        url = httpx.URL(request.url)
        written = [(name.encode("ascii"), text.encode()) for name, text in headers.items()]
    except (httpx.InvalidURL, UnicodeEncodeError):
        # Without the cause, whose text may quote a URL with a key in it.
        raise _unsendable() from None
    return url, [(b"host", url.netloc), *written], content


def _headers(incoming: httpcore.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_text in incoming.headers:
        name, text = raw_name.decode("ascii").lower(), raw_text.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


async def _decompressed(
    incoming: httpcore.Response, headers: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    if headers.get("content-encoding", "identity") == "identity":
        async for chunk in incoming.aiter_stream():
            yield chunk
        return
    response = httpx.Response(incoming.status, headers=incoming.headers, stream=_Received(incoming))
    async for chunk in response.aiter_bytes():
        yield chunk


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
        httpx.DecodingError,
    ) as error:
        raise NetworkError(
            NetworkFailure.INTERRUPTED, f"the connection broke off ({_words(error)})"
        ) from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _unsendable() -> InvalidInputError:
    return InvalidInputError(
        "The URL or a header of the request has characters that HTTP does not allow, such as a "
        "line break.",
        code="invalid_headers",
    )
