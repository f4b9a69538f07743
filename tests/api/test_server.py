"""The api process: it listens, and a signal ends it in good order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading

import httpx
import pytest
from temporalio.worker import Worker

from config.settings import Settings
from perdure.app.container import Container
from perdure.app.server import run_api
from perdure.embedded.ports import choose_ports
from perdure.errors import StartupError
from tests.api.calls import connect, deploy
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

PROGRAM = """
import uvloop
from config.settings import Settings
from perdure.app.server import run_api

uvloop.run(run_api(Settings()))
"""

CALLS_OUT = """
async def run_action(nango, input):
    return (await nango.get(endpoint="/issues")).status
"""


def environment_of(settings: Settings, port: int) -> dict[str, str]:
    assert settings.encryption_keys is not None
    return os.environ | {
        "PERDURE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PERDURE_ENCRYPTION_KEYS": settings.encryption_keys.get_secret_value(),
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "PERDURE_PORT": str(port),
    }


async def until_healthy(client: httpx.AsyncClient) -> None:
    async def poll() -> None:
        while True:
            try:
                if (await client.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)

    await asyncio.wait_for(poll(), 30)


async def test_signal_lets_requests_under_way_end_and_ends_the_process(
    container: Container, running_workers: list[Worker], source: Source
) -> None:
    assert running_workers
    asked, go_on = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        asked.set()
        go_on.wait(20)

    source.before = hold
    stack = await Stack.create(container)
    port = choose_ports({"--port": 0})["--port"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environment_of(container.settings, port)
    )
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"authorization": f"Bearer {stack.secret_key}"},
            timeout=30,
        ) as client:
            await until_healthy(client)
            await deploy(client, project(action=CALLS_OUT))
            await connect(client, source.url)
            calling = asyncio.create_task(
                client.post(
                    "/action/trigger",
                    json={"action_name": "echo"},
                    headers={"connection-id": "acme", "provider-config-key": "tracker"},
                )
            )
            assert await asyncio.to_thread(asked.wait, 20)
            process.send_signal(signal.SIGTERM)
            go_on.set()
            answer = await calling
        assert (answer.status_code, answer.json()) == (200, 200)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        go_on.set()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_port_that_is_taken_is_a_start_up_error(container: Container) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = container.settings.model_copy(update={"port": port})
        with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
            await run_api(settings)
