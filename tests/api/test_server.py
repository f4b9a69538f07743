"""The api process: it listens, and signals end it in good order."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from temporalio.worker import Worker

from perdure.app.container import Container
from perdure.app.server import run_api
from perdure.errors import StartupError
from tests.api.calls import connect, deploy
from tests.support.processes import Running, perdure_process
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

CALLS_OUT = """
async def run_action(nango, input):
    return (await nango.get(endpoint="/issues")).status
"""

ACTION = {
    "json": {"action_name": "echo"},
    "headers": {"connection-id": "acme", "provider-config-key": "tracker"},
}


class Held:
    """Holds the answers of the provider's API."""

    def __init__(self, source: Source) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        source.before = self._hold

    def _hold(self, _: int) -> None:
        self.asked.set()
        self.go_on.wait(20)


@asynccontextmanager
async def client_of(api: Running, stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    await api.answers()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{api.port}",
        headers={"authorization": f"Bearer {stack.secret_key}"},
        timeout=30,
    ) as client:
        yield client


async def test_signal_lets_requests_under_way_end_and_ends_the_process(
    container: Container, running_workers: list[Worker], source: Source, tmp_path: Path
) -> None:
    assert running_workers
    held, stack = Held(source), await Stack.create(container)
    try:
        async with (
            perdure_process("api", container.settings, tmp_path / "api.log") as api,
            client_of(api, stack) as client,
        ):
            await deploy(client, project(action=CALLS_OUT))
            await connect(client, source.url)
            calling = asyncio.create_task(client.post("/action/trigger", **ACTION))
            assert await asyncio.to_thread(held.asked.wait, 20)
            api.signal()
            held.go_on.set()
            answer = await calling
            assert (answer.status_code, answer.json()) == (200, 200)
            assert await api.ended() == 0
    finally:
        held.go_on.set()


async def test_second_signal_ends_the_process_at_once(
    container: Container, running_workers: list[Worker], source: Source, tmp_path: Path
) -> None:
    assert running_workers
    held, stack = Held(source), await Stack.create(container)
    try:
        async with (
            perdure_process("api", container.settings, tmp_path / "api.log") as api,
            client_of(api, stack) as client,
        ):
            await deploy(client, project(action=CALLS_OUT))
            await connect(client, source.url)
            calling = asyncio.create_task(client.post("/action/trigger", **ACTION))
            assert await asyncio.to_thread(held.asked.wait, 20)
            api.signal()
            await api.says("api_stopping")
            api.signal()
            assert await api.ended(2) == 128 + signal.SIGTERM
            with pytest.raises(httpx.TransportError):
                await calling
    finally:
        held.go_on.set()


async def test_process_that_is_to_stop_first_sends_requests_elsewhere(
    container: Container, tmp_path: Path
) -> None:
    stack = await Stack.create(container)
    log = tmp_path / "api.log"
    async with (
        perdure_process("api", container.settings, log, PERDURE_DRAIN_SECONDS="2") as api,
        client_of(api, stack) as client,
    ):
        assert (await client.get("/health/ready")).json()["status"] == "ok"
        api.signal()
        told = time.monotonic()
        await api.says("api_stopping")

        ready, answer = await client.get("/health/ready"), await client.get("/integrations")
        assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert (await client.get("/health/live")).status_code == 200
        assert await api.ended() == 0
        assert 2 <= time.monotonic() - told < 10
        with pytest.raises(httpx.ConnectError):
            await client.get("/health/live")


async def test_live_feed_and_idle_connections_do_not_hold_up_the_end(
    container: Container, source: Source, tmp_path: Path
) -> None:
    stack = await Stack.create(container)
    await stack.deploy(project())
    await stack.connect(source.url)
    headers = {"connection-id": "acme", "provider-config-key": "tracker"}
    async with (
        perdure_process("api", container.settings, tmp_path / "api.log") as api,
        client_of(api, stack) as client,
        client_of(api, stack) as idle,
    ):
        assert (await idle.get("/health/live")).status_code == 200
        async with client.stream(
            "GET", "/records/stream", params={"model": "Issue"}, headers=headers
        ) as feed:
            assert feed.status_code == 200
            lines = feed.aiter_lines()
            assert await anext(lines)
            api.signal()
            async for _ in lines:  # to its end, which is no error
                pass
        assert await api.ended(4) == 0


async def test_port_that_is_taken_is_a_start_up_error(container: Container) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = container.settings.model_copy(update={"port": port})
        with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
            await run_api(settings)
