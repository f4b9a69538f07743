"""How fast the API could serve: a client that reads bytes and does nothing with them."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from urllib.parse import urlsplit

import uvloop

__all__: list[str] = []

_CONNECTIONS = 2


async def _read(host: str, port: int, limit: int, until: float) -> int:
    """Return how many pages came over one connection before a moment."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
    request = f"GET /issues?limit={limit}&total=1000000&cursor=%d HTTP/1.1\r\nHost: {host}\r\n\r\n"
    pages = 0
    while time.monotonic() < until:
        writer.write((request % (pages % 1000 + 1)).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        pages += 1
    writer.close()
    return pages


async def _measure(url: str, limit: int, seconds: float) -> float:
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    began = time.monotonic()
    reading = (
        _read(address.hostname, address.port, limit, began + seconds) for _ in range(_CONNECTIONS)
    )
    pages = sum(await asyncio.gather(*reading))
    return pages / (time.monotonic() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    told = parser.parse_args()
    pages_per_s = uvloop.run(_measure(told.url, told.limit, told.seconds))
    print(json.dumps({"pages_per_s": pages_per_s, "records_per_s": pages_per_s * told.limit}))
