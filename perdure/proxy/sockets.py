"""Connections to judged addresses, for the library that speaks HTTP over them."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from typing_extensions import override

from perdure.proxy.exchange import NetworkError
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.ssrf import AddressGuard

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["CONNECT_TIMEOUT_S", "guarded_connector"]

CONNECT_TIMEOUT_S = 10.0
"""Until a connection stands, where its request is not in a greater hurry."""

_KEEPALIVE_S = 4.0
"""Below the 5 seconds after which common servers close: a request must not meet that moment."""

_END_OF_HEAD = b"\r\n\r\n"


def guarded_connector(
    guard: AddressGuard, *, max_connections: int, ssl_context: ssl.SSLContext
) -> aiohttp.TCPConnector:
    """Return a pool whose connections go to judged addresses; TLS still goes by the URL's name.

    Call it where an event loop runs.

    Args:
        guard: Judges the addresses that are connected to.
        max_connections: Connections at the same time.
        ssl_context: Trusted certificates.
    """

    def opened(info: aiohttp.AddrInfoType) -> socket.socket:
        # Whatever way the address was come by: a URL may hold one, which nobody resolves.
        family, kind, protocol, _, place = info
        guard.check_address(str(place[0]))
        return socket.socket(family, kind, protocol)

    connector = _Connector(
        limit=max_connections,
        keepalive_timeout=_KEEPALIVE_S,
        resolver=_Resolver(guard),
        socket_factory=opened,
        ssl=ssl_context,
        use_dns_cache=False,
    )
    protocol: type[ResponseHandler] = _Protocol
    connector._factory = partial(protocol, loop=asyncio.get_running_loop())
    return connector


class _Resolver(AbstractResolver):
    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host that the guard lets through."""
        try:
            addresses = await self._guard.addresses(host, port)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                msg = "names cannot be resolved at present"
                raise OSError(msg) from error
            raise NetworkError(NetworkFailure.UNKNOWN_HOST, f"there is no host {host!r}") from error
        if not addresses:
            msg = "the host has no address"
            raise OSError(msg)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    @override
    async def close(self) -> None: ...


class _Connector(aiohttp.TCPConnector):
    @override
    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        """Return a kept connection over which nothing came since.

        What comes unasked is the end of the connection, or would be taken for the answer to a
        request that was not made yet. The event loop may not have heard of it; the system has.
        """
        while (kept := await super()._get(key, traces)) is not None:
            if not _has_news(kept):
                return kept
            kept.close()
        return None


class _Protocol(ResponseHandler):
    _is_before_head = False

    @override
    def set_response_params(self, **params: Any) -> None:
        """Note that an answer begins."""
        self._is_before_head = True
        super().set_response_params(**params)

    @override
    def data_received(self, data: bytes) -> None:
        """Take an answer for what it is, whatever comes behind it.

        The library's parser forgets one where the same bytes go on with what is none, as the body
        of a 204 is. The connection is not used again.
        """
        if self._is_before_head:
            head, end, rest = data.partition(_END_OF_HEAD)
            if end:
                self._is_before_head = False
                super().data_received(head + end)
                data = rest
                if not rest or self.exception() is not None:
                    return
        super().data_received(data)

    @override
    def set_exception(self, exc: BaseException, *causes: BaseException) -> None:
        """Tell whoever reads the body, too.

        The library tells those who wait for headers; a body whose chunks are none, or whose
        request could not be sent to its end, would be waited for without a limit.
        """
        super().set_exception(exc, *causes)
        known = isinstance(exc, aiohttp.ClientError | TimeoutError)
        self._break_off(exc if known else aiohttp.ClientPayloadError())

    @override
    def close(self) -> None:
        """Close at once.

        The library would first have the other side take what was written, and end TLS: without a
        limit, or for half a minute, and beside the connections that it counts.
        """
        self._break_off(aiohttp.ClientPayloadError())
        self.abort()

    def _break_off(self, reason: BaseException) -> None:
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(reason)


def _has_news(connection: Connection) -> bool:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None or protocol.should_close:
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
