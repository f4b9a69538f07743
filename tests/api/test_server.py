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

from api.app import create_app
from perdure.app.container import Container
from perdure.app.server import _Server, run_api
from perdure.errors import StartupError
from tests.api.calls import connect, deploy, error_of
from tests.support.deploys import eventually
from tests.support.processes import Running, perdure_process
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

CALLS_OUT = """
async def run_action(nango, input):
    return (await nango.get(endpoint="/issues")).status
"""

ACTION: dict[str, dict[str, str]] = {
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


async def test_caller_who_waits_for_an_action_is_told_where_its_result_will_be(
    container: Container, running_workers: list[Worker], source: Source, tmp_path: Path
) -> None:
    assert running_workers
    held, stack = Held(source), await Stack.create(container)
    keyed = {**ACTION["headers"], "idempotency-key": "once"}
    try:
        async with (
            perdure_process("api", container.settings, tmp_path / "api.log") as api,
            client_of(api, stack) as client,
        ):
            await deploy(client, project(action=CALLS_OUT))
            await connect(client, source.url)
            plain = asyncio.create_task(client.post("/action/trigger", **ACTION))
            with_key = asyncio.create_task(
                client.post("/action/trigger", json=ACTION["json"], headers=keyed)
            )
            assert await asyncio.to_thread(held.asked.wait, 20)

            async def both_run() -> bool:
                return len((await client.get("/runs?kind=action")).json()["runs"]) == 2

            await eventually(both_run)
            api.signal()
            answer, again = await plain, await with_key
            assert await api.ended() == 0

        # A repetition with the key is the same action; one without would be another.
        assert error_of(again) == (503, "action_result_unknown")
        assert again.headers["retry-after"] == "1"
        assert error_of(answer) == (504, "action_result_unknown")
        facts = answer.json()["error"]["payload"]
        assert facts["statusUrl"] == f"/action/{facts['id']}"
        assert answer.headers["x-action-id"] == facts["id"]
        assert "Traceback" not in api.log.read_text()

        held.go_on.set()
        async with (
            perdure_process("api", container.settings, tmp_path / "next.log") as api,
            client_of(api, stack) as client,
        ):
            answer = await client.post("/action/trigger", json=ACTION["json"], headers=keyed)
            assert (answer.status_code, answer.json()) == (200, 200)
    finally:
        held.go_on.set()


async def test_request_that_takes_too_long_for_the_end_is_answered_all_the_same(
    container: Container, source: Source, tmp_path: Path
) -> None:
    held, stack = Held(source), await Stack.create(container)
    await stack.connect(source.url)
    headers = ACTION["headers"]
    try:
        async with (
            perdure_process("api", container.settings, tmp_path / "api.log") as api,
            client_of(api, stack) as client,
        ):
            reading = asyncio.create_task(client.get("/proxy/issues", headers=headers))
            writing = asyncio.create_task(client.post("/proxy/issues", headers=headers))
            assert await asyncio.to_thread(held.asked.wait, 20)
            api.signal()
            answers = await reading, await writing
            assert await api.ended() == 0
        assert error_of(answers[0]) == (503, "process_stopping")
        assert error_of(answers[1]) == (504, "outcome_unknown")
        assert "Traceback" not in api.log.read_text()
    finally:
        held.go_on.set()


def test_idle_connections_outlive_the_patience_of_load_balancers(container: Container) -> None:
    # One that closes them first takes back a connection on which a request is on its way.
    server = _Server(create_app(container), 0)

    assert server.config.timeout_keep_alive > 60


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
            assert await api.ended(10) == 128 + signal.SIGTERM
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
        perdure_process("api", container.settings, log, PERDURE_DRAIN_SECONDS="5") as api,
        client_of(api, stack) as client,
    ):
        assert (await client.get("/health/ready")).json()["status"] == "ok"
        told = time.monotonic()
        api.signal()
        await api.says("api_stopping")

        ready, answer = await client.get("/health/ready"), await client.get("/integrations")
        assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert (await client.get("/health/live")).status_code == 200
        assert await api.ended() == 0
        assert 5 <= time.monotonic() - told < 30
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
        assert await api.ended() == 0
        assert "graceful shutdown exceeded" not in api.log.read_text()


async def test_port_that_is_taken_is_a_start_up_error(container: Container) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = container.settings.model_copy(update={"port": port})
        with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
            await run_api(settings)
