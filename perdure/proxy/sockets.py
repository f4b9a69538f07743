"""Connections to judged addresses, for the library that speaks HTTP over them.

They are plain protocols of the event loop: a read that finds its bytes already there costs no
turn of the loop, and one that waits costs one timer.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Iterable
from typing import Any, cast

import httpcore
from typing_extensions import override

from perdure.proxy.exchange import NetworkError
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.ssrf import AddressGuard

__all__ = ["CONNECT_TIMEOUT_S", "GuardedBackend"]

CONNECT_TIMEOUT_S = 10.0
"""Until a connection stands, where its request is not in a greater hurry."""

_MUCH = 262_144
"""Bytes that wait to be read before the other side is made to wait."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to judged addresses; TLS still goes by the name in the URL.

    Args:
        guard: Judges the addresses that are connected to.
    """

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that the guard lets through and that answers."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + (timeout or CONNECT_TIMEOUT_S)
        addresses = await self._resolve(host, port, deadline - clock())
        failure: Exception = httpcore.ConnectError("the host has no address")
        for index, address in enumerate(addresses):
            # Each address gets its share, so that one that swallows packets leaves time for others.
            share = max(deadline - clock(), 0.001) / (len(addresses) - index)
            try:
                return await _connected(address, port, share)
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


async def _connected(address: str, port: int, limit: float) -> _Stream:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit):
            # No name is looked up here: it would not be the address that was judged.
            _, stream = await loop.create_connection(
                _Stream, address, port, flags=socket.AI_NUMERICHOST
            )
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("the address did not answer in time") from error
    except OSError as error:
        raise httpcore.ConnectError(error) from error
    return stream


class _Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection, and what came over it and was not read yet."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._listens = True
        self._is_encrypted = False
        self._ended = False
        self._failure: Exception | None = None
        self._is_congested = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _MUCH and self._listens:
            self._listens = False
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._reader)
        # The request may still be on its way; whoever made it closes. TLS knows no half of an end.
        return not self._is_encrypted

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._failure = exc
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        self._is_congested = True

    def resume_writing(self) -> None:
        self._is_congested = False
        _wake(self._writer)

    # What the library calls

    @override
    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,
    ) -> bytes:
        """Return what came, nothing at the end; see base class."""
        if not self._pieces and not self._ended:
            self._reader = self._loop.create_future()
            try:
                await self._within(self._reader, timeout, httpcore.ReadTimeout)
            finally:
                self._reader = None
        if self._pieces:
            return self._taken()
        if self._failure is not None:
            raise httpcore.ReadError(self._failure) from self._failure
        return b""

    @override
    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,
    ) -> None:
        """See base class."""
        if not buffer:
            return
        if not self._transport.is_closing():
            self._transport.write(buffer)
            if self._is_congested:
                self._writer = self._loop.create_future()
                try:
                    await self._within(self._writer, timeout, httpcore.WriteTimeout)
                finally:
                    self._writer = None
        if self._transport.is_closing():
            raise httpcore.WriteError("the connection was closed")

    async def aclose(self) -> None:
        """See base class."""
        self._ended = True
        self._transport.abort()

    @override
    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """See base class."""
        if self._pieces:
            # Taken for an answer, it would be one that anybody on the way could have written.
            await self.aclose()
            raise httpcore.ConnectError("it spoke before the connection was encrypted")
        if self._ended:
            await self.aclose()
            raise httpcore.ConnectError("the connection was closed")
        self._is_encrypted = True
        try:
            async with asyncio.timeout(timeout):
                encrypted = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except BaseException as error:
            await self.aclose()
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout("TLS was not agreed upon in time") from error
            if isinstance(error, OSError):  # the errors of TLS are among them
                raise httpcore.ConnectError(error) from error
            raise
        if encrypted is None:
            raise httpcore.ConnectError("the connection was closed")
        self._transport = encrypted
        return self

    def get_extra_info(self, info: str) -> Any:
        """Tell what the library asks for: the state of TLS, and whether there is news."""
        if info == "is_readable":
            # The loop may not have heard yet that the other side closed; the system knows.
            closed = self._ended or self._transport.is_closing()
            return closed or bool(self._pieces) or bool(self._poll.poll(0))
        if info == "ssl_object":
            return self._transport.get_extra_info("ssl_object")
        return None

    def _taken(self) -> bytes:
        """Return all that is there: one piece costs its readers less than many."""
        taken = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_bytes = 0
        if not self._listens and not self._ended:
            self._listens = True
            self._transport.resume_reading()
        return taken

    async def _within(
        self, future: asyncio.Future[None], limit: float | None, failure: type[Exception]
    ) -> None:
        if limit is None:
            return await future
        timer = self._loop.call_later(limit, _fail, future, failure("it took too long"))
        try:
            await future
        finally:
            timer.cancel()


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _fail(waiting: asyncio.Future[None], failure: Exception) -> None:
    if not waiting.done():
        waiting.set_exception(failure)
