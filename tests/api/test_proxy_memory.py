"""What passes through the proxy is not held: the memory of a real api process, measured."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest

from perdure.app.container import Container
from perdure.embedded.ports import choose_ports
from tests.api.test_server import PROGRAM, environment_of, until_healthy
from tests.support.stack import Stack
from tests.support.upstream import OK, Asked, Upstream

MB = 1024 * 1024
SIZE = 256 * MB
PIECE = b"x" * (256 * 1024)


@asynccontextmanager
async def api_process(
    container: Container, key: str
) -> AsyncIterator[tuple[httpx.AsyncClient, psutil.Process]]:
    port = choose_ports({"--port": 0})["--port"]
    environment = environment_of(container.settings, port)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environment | {"PERDURE_ALLOW_PRIVATE_NETWORKS": "true"}
    )
    headers = {
        "authorization": f"Bearer {key}",
        "connection-id": "acme",
        "provider-config-key": "tracker",
    }
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120
        ) as client:
            await until_healthy(client)
            yield client, psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


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
async def test_memory_does_not_grow_with_what_passes(container: Container) -> None:
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
        api_process(container, stack.secret_key) as (client, process),
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
