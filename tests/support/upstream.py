"""A provider's API that speaks HTTP by hand, so that it can be slow, break off and look closely."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Asked:
    """One request, whose body may still be to come."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}

    async def body(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return
        left = int(self.headers.get("content-length", 0))
        while left and (piece := await self.reader.read(min(left, 65_536))):
            left -= len(piece)
            yield piece

    async def whole_body(self) -> bytes:
        return b"".join([piece async for piece in self.body()])

    async def answer(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()


Handler = Callable[[Asked], Awaitable[None]]


@dataclass
class Upstream:
    """Serves at `url`; every request is handed to `handle`, on a connection of its own.

    Attributes:
        asked: All requests so far.
        gone: Set when a caller hung up before `handle` was done.
    """

    handle: Handler
    asked: list[Asked] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                asked = Asked(await reader.readuntil(b"\r\n\r\n"), reader, writer)
                self.asked.append(asked)
                await self.handle(asked)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.gone.set()
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()


async def ok(asked: Asked) -> None:
    """Read everything and say so."""
    await asked.whole_body()
    await asked.answer(OK)


async def until_hung_up(asked: Asked) -> None:
    """Wait for the other side to close."""
    while await asked.reader.read(65_536):
        pass
    raise ConnectionResetError
