"""Calls of providers through `/proxy`, over real connections on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from perdure.embedded.ports import choose_ports
from tests.support.stack import Stack
from tests.support.upstream import Asked, Handler, Upstream

HEADERS = {"connection-id": "acme", "provider-config-key": "tracker"}


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _serving(app: FastAPI) -> AsyncIterator[str]:
    port = choose_ports({"api": 0})["api"]
    config = uvicorn.Config(app, port=port, lifespan="off", log_config=None, server_header=False)
    server = _Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        # Tests leave connections that nobody will end.
        server.should_exit = server.force_exit = True
        await running


@asynccontextmanager
async def calling(app: FastAPI, environment: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client over a real connection, with the headers of the connection `acme`."""
    headers = {"authorization": f"Bearer {environment.secret_key}", **HEADERS}
    async with (
        _serving(app) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
    ):
        yield client


@asynccontextmanager
async def upstream(environment: Stack, handle: Handler, **connect: Any) -> AsyncIterator[Upstream]:
    """A provider to which `acme` is connected."""
    async with Upstream(handle).serving() as server:
        await environment.connect(server.url, **connect)
        yield server


def answering(*answers: bytes) -> Handler:
    """Give each request the next answer, the last one to all that follow."""
    left = list(answers)

    async def handle(asked: Asked) -> None:
        await asked.whole_body()
        await asked.answer(left.pop(0) if len(left) > 1 else left[0])

    return handle
