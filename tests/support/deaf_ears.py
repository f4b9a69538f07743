"""A way to a server on which answers get lost, once somebody says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass
class Way:
    """What leads to the server.

    Attributes:
        address: Where to call it.
        is_closed: Whether who calls is sent away.
        loses_answers: Whether what is sent arrives, and what is answered does not.
    """

    address: str = ""
    is_closed: bool = False
    loses_answers: bool = False


@asynccontextmanager
async def way_to(address: str) -> AsyncIterator[Way]:
    """Lead to a server until the context ends."""
    way = Way()
    host, _, port = address.rpartition(":")

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(65_536):
                if not (answers and way.loses_answers):
                    writer.write(data)
                    await writer.drain()
        writer.close()

    pumps: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if way.is_closed:
            writer.close()
            return
        there, back = await asyncio.open_connection(host, int(port))
        pumps.add(asyncio.create_task(pump(reader, back, answers=False)))
        pumps.add(asyncio.create_task(pump(there, writer, answers=True)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
