"""The API that everything reads from: a process of its own, never the bottleneck.

    GET /issues?limit=100&total=10000&cursor=2    a page of issues; `next` is the next cursor
    GET /greeting                                 a few bytes, for actions

`python -m bench.fake_api` prints its URL and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast
from urllib.parse import parse_qs, urlsplit

import uvloop

from bench.issues import page

_GREETING = [b'{"greeting":"Hello"}']
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_END = b"\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Answers GET requests, however they are cut into pieces."""

    def __init__(self) -> None:
        self._asked = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._asked += data
        while _END in self._asked:
            head, _, self._asked = self._asked.partition(_END)
            target = head.split(b" ", 2)[1].decode("ascii")
            status, body = _answer(target)
            size = sum(map(len, body))
            self._transport.writelines([_HEAD % (status, size), *body])


def _answer(target: str) -> tuple[bytes, list[bytes]]:
    url = urlsplit(target)
    if url.path == "/greeting":
        return b"200 OK", _GREETING
    if url.path != "/issues":
        return b"404 Not Found", [b"{}"]
    asked = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
    body = page(asked.get("cursor", 1), limit=asked["limit"], total=asked["total"])
    return b"200 OK", body


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve())
