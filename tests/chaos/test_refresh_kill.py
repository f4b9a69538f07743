"""Fifty use one connection whose tokens live for seconds, and a worker is killed meanwhile.

The authorization server takes each refresh token once: a second use would cost the whole grant,
and every user would see it. Only while a worker is being killed it forgives that, as a worker may
die between the answer and the store.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from perdure.app.dev.folder import data_folder
from perdure.clock import utcnow
from perdure.crypto.keyring import KeyRing
from perdure.db.connections import Connection
from perdure.db.database import Database
from tests.support.authorization_server import AuthorizationServer, authorization_server
from tests.support.dev import DevServer, dev_server
from tests.support.keepers import loopback_connection, providers_file
from tests.support.project import project

TOKEN_SECONDS = 5
ME = """
async def run_action(nango, input):
    return (await nango.get(endpoint="/me")).data
"""
ACME = {"connection-id": "acme", "provider-config-key": "tracker"}
READERS = 25
RUNNERS = 25


@pytest.fixture
async def server() -> AsyncIterator[AuthorizationServer]:
    async with authorization_server(token_seconds=TOKEN_SECONDS) as server:
        yield server


@pytest.fixture
async def dev(
    tmp_path_factory: pytest.TempPathFactory, server: AuthorizationServer
) -> AsyncIterator[DevServer]:
    folder = tmp_path_factory.mktemp("dev")
    env = {"PERDURE_PROVIDERS": str(providers_file(folder))}
    async with dev_server(folder, env=env) as dev:
        await dev.deploy(project(action=ME))
        await connect(dev, server)
        yield dev


async def connect(dev: DevServer, server: AuthorizationServer) -> Connection:
    keys = data_folder(dev.data_dir).secrets().encryption_keys.get_secret_value()
    async with Database.open(dev.info["database_url"], keyring=KeyRing.parse(keys)) as database:
        environment = await database.environments.by_name("dev")
        return await loopback_connection(database, environment.id, server, await server.tokens())


class Users:
    """Those who use the connection until they are told to end; how often, by kind."""

    def __init__(self, dev: DevServer, server: AuthorizationServer) -> None:
        self._dev = dev
        self._server = server
        self.go_on = True
        self.seen: Counter[str] = Counter()

    async def read(self) -> None:
        """Ask for the token and use it oneself, as an application does."""
        async with httpx.AsyncClient() as client:
            while self.go_on:
                found = await self._dev.call(
                    "GET", "/connections/acme", params={"provider_config_key": "tracker"}
                )
                token = found["credentials"]["access_token"]
                headers = {"authorization": f"Bearer {token}"}
                answer = await client.get(f"{self._server.url}/me", headers=headers)
                ends = datetime.fromisoformat(found["credentials"]["expires_at"])
                if answer.status_code == 401 and utcnow() > ends - timedelta(seconds=1):
                    continue  # it was good when it was told, and has ended on the way
                assert answer.status_code == 200, answer.text
                self.seen["read"] += 1

    async def run(self) -> None:
        """Have an action use it."""
        while self.go_on:
            answer = await self._dev.client.post(
                "/action/trigger", headers=ACME, json={"action_name": "echo"}
            )
            assert answer.status_code == 200, answer.text
            assert answer.json() == {"sub": "user-1"}
            self.seen["run"] += 1


async def restarted(dev: DevServer, name: str, killed: int) -> None:
    async with asyncio.timeout(60):
        while dev.info["pids"][name] == killed:
            await asyncio.sleep(0.05)


async def refreshed(server: AuthorizationServer, times: int) -> None:
    goal = await server.refreshes() + times
    async with asyncio.timeout(60):
        while await server.refreshes() < goal:
            await asyncio.sleep(0.05)


async def kill_worker(dev: DevServer, server: AuthorizationServer) -> None:
    await server.forgive(60)
    # Right when somebody was told of new tokens, so that some are about to be stored.
    await refreshed(server, 1)
    await restarted(dev, "worker", dev.kill("worker"))
    await refreshed(server, 2)
    await server.forgive(0)


async def prove(dev: DevServer, server: AuthorizationServer, *, seconds: float, kills: int) -> None:
    began = time.monotonic()
    users = Users(dev, server)
    async with asyncio.TaskGroup() as group:
        for _ in range(READERS):
            group.create_task(users.read())
        for _ in range(RUNNERS):
            group.create_task(users.run())
        for _ in range(kills):
            await asyncio.sleep(seconds / (kills + 1))
            await kill_worker(dev, server)
        await asyncio.sleep(max(began + seconds - time.monotonic(), 1))
        users.go_on = False
    took = time.monotonic() - began

    refreshes, refused = await server.refreshes(), await server.refused()
    print(f"{users.seen} in {took:.0f} s, {kills} kills: {refreshes} refreshes")
    assert refused == []
    # One at half of each token's life; one more for each kill, whose worker may have had it.
    assert refreshes <= took / (TOKEN_SECONDS / 2) + 2 + kills
    assert min(users.seen["read"], users.seen["run"]) >= READERS
    await still_good(dev)


async def still_good(dev: DevServer) -> None:
    query: dict[str, Any] = {"provider_config_key": "tracker", "force_refresh": "true"}
    found = await dev.call("GET", "/connections/acme", params=query)
    assert found["errors"] == []


@pytest.mark.timeout(240)
async def test_fifty_use_tokens_of_five_seconds_while_a_worker_is_killed(
    dev: DevServer, server: AuthorizationServer
) -> None:
    await prove(dev, server, seconds=10, kills=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_fifty_use_tokens_of_five_seconds_for_a_minute_while_workers_are_killed(
    dev: DevServer, server: AuthorizationServer
) -> None:
    await prove(dev, server, seconds=60, kills=3)
