"""What passes through the proxy is not held: the memory of a real api process, measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from perdure.app.container import Container
from tests.support.processes import perdure_process
from tests.support.stack import Stack
from tests.support.upstream import OK, Asked, Upstream

MB = 1024 * 1024
SIZE = 256 * MB
PIECE = b"x" * (256 * 1024)


@asynccontextmanager
async def api_process(
    container: Container, key: str, log: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, psutil.Process]]:
    headers = {
        "authorization": f"Bearer {key}",
        "connection-id": "acme",
        "provider-config-key": "tracker",
    }
    async with perdure_process("api", container.settings, log) as api:
        await api.answers()
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{api.port}", headers=headers, timeout=120
        ) as client:
            yield client, psutil.Process(api.process.pid)


@asynccontextmanager
async def peak_of(process: psutil.Process, into: list[int]) -> AsyncIterator[None]:
    async def sample() -> None:
        while True:
            into.append(process.memory_info().rss)
            await asyncio.sleep(0.05)

    sampling = asyncio.create_task(sample())
    try:
        yield
    finally:
        sampling.cancel()


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


@pytest.mark.timeout(300)
async def test_memory_does_not_grow_with_what_passes(container: Container, tmp_path: Path) -> None:
    received = 0

    async def serve(asked: Asked) -> None:
        nonlocal received
        async for piece in asked.body():
            received += len(piece)
        if asked.line.startswith("POST"):
            await asked.answer(OK)
            return
        await asked.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        async for piece in pieces():
            await asked.answer(piece)

    stack = await Stack.create(container)
    async with (
        Upstream(serve).serving() as provider,
        api_process(container, stack.secret_key, tmp_path / "api.log") as (client, process),
    ):
        await stack.connect(provider.url)
        assert (await client.post("/proxy/warm", content=b"x")).status_code == 200
        before = process.memory_info().rss
        sent: list[int] = []
        async with peak_of(process, sent):
            for retries in ("0", "1"):
                answer = await client.post(
                    "/proxy/x", content=pieces(), headers={"retries": retries}
                )
                assert answer.status_code == 200
        assert received == 2 * SIZE + 1
        fetched: list[int] = []
        got = 0
        async with peak_of(process, fetched), client.stream("GET", "/proxy/x") as answer:
            async for piece in answer.aiter_raw():
                got += len(piece)
        assert got == SIZE
    grown = [round((max(samples) - before) / MB, 1) for samples in (sent, fetched)]
    print(f"grew by {grown} MB over {before / MB:.0f} MB while {SIZE // MB} MB passed")
    assert max(grown) < 48
