"""API and worker are killed while actions run; every action completes, each effect happens once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.dev import DevServer, dev_server
from tests.support.project import project

ORDER = """
async def run_action(nango, input):
    return (await nango.post(endpoint="/orders", data={"n": input["n"]})).data
"""
NAMED = {"connection-id": "acme", "provider-config-key": "tracker"}
AT_A_TIME = 6


@dataclass
class Shop:
    """An API that carries out an order once for each idempotency key, however often it is asked.

    Attributes:
        asked: Requests that came, by order.
        done: Effects, by order.
    """

    server: HTTPServer
    asked: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    _keys: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server.expect_request("/orders", method="POST").respond_with_handler(self._order)

    @property
    def url(self) -> str:
        return self.server.url_for("")

    def _order(self, request: Request) -> Response:
        number, key = request.form["n"], request.headers["idempotency-key"]
        with self._lock:
            self.asked[number] += 1
        time.sleep(random.uniform(0, 0.2))
        with self._lock:
            if key not in self._keys:
                self._keys.add(key)
                self.done[number] += 1
        # The effect has happened, and nobody knows yet.
        time.sleep(random.uniform(0, 0.2))
        return Response(f'{{"n": "{number}"}}', mimetype="application/json")


@pytest.fixture
def shop() -> Iterator[Shop]:
    with HTTPServer(threaded=True) as server:
        yield Shop(server)


@pytest.fixture
async def dev(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path_factory.mktemp("dev")) as server:
        await server.deploy(project(action=ORDER))
        # A provider whose entry says that it takes idempotency keys.
        body = {"provider": "stripe-api-key", "unique_key": "tracker"}
        await server.call("POST", "/integrations", json=body)
        connection = {
            "provider_config_key": "tracker",
            "connection_id": "acme",
            "connection_config": {"apiBaseUrl": shop.url},
            "credentials": {"type": "API_KEY", "api_key": "k"},
        }
        await server.call("POST", "/connections", json=connection)
        yield server


async def insist(dev: DevServer, method: str, path: str, **options: Any) -> httpx.Response:
    """Ask until the API answers, as a client does that must know."""
    while True:
        try:
            answer = await dev.client.request(method, path, **options)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if answer.status_code not in (503, 504):
            return answer
        await asyncio.sleep(0.1)


async def order(dev: DevServer, number: int) -> Any:
    """Call the action, every other time without waiting for it, and return its output."""
    headers = NAMED | {"idempotency-key": f"order-{number}"}
    if number % 2:
        headers["x-async"] = "true"
    body = {"action_name": "echo", "input": {"n": number}}
    answer = await insist(dev, "POST", "/action/trigger", headers=headers, json=body)
    if answer.status_code == 202:
        path = answer.headers["location"]
        while (answer := await insist(dev, "GET", path)).status_code == 404:
            await asyncio.sleep(0.1)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def restarted(dev: DevServer, name: str, killed: int) -> None:
    async with asyncio.timeout(30):
        while dev.info["pids"][name] == killed:
            await asyncio.sleep(0.05)


async def kill_at_times(dev: DevServer, shop: Shop, kills: int, actions: int) -> None:
    """Kill API and worker in turn, each after some more of the actions were begun."""
    for kill in range(kills):
        begun = (kill + 1) * actions // (kills + 2)
        while len(shop.asked) < begun:
            await asyncio.sleep(0.02)
        await asyncio.sleep(random.uniform(0, 0.3))
        name = ("worker", "api")[kill % 2]
        await restarted(dev, name, dev.kill(name))


async def prove(dev: DevServer, shop: Shop, kills: int, actions: int) -> None:
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(number: int) -> None:
        async with places:
            assert await order(dev, number) == {"n": str(number)}

    async with asyncio.TaskGroup() as group:
        group.create_task(kill_at_times(dev, shop, kills, actions))
        for number in range(actions):
            group.create_task(one(number))

    assert shop.done == {str(number): 1 for number in range(actions)}
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        query = {"kind": "action", "limit": "1000", **cursor}
        page = (await insist(dev, "GET", "/runs", params=query)).json()
        found += page["runs"]
    assert [run["status"] for run in found] == ["success"] * actions, "one run for each"
    repeated = sum(shop.asked.values()) - actions
    print(f"{actions} actions, {kills} kills: {repeated} requests were made again")


@pytest.mark.timeout(180)
async def test_actions_complete_once_though_api_and_worker_are_killed(
    dev: DevServer, shop: Shop
) -> None:
    await prove(dev, shop, kills=2, actions=30)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_two_hundred_actions_complete_once_over_twenty_kills(
    dev: DevServer, shop: Shop
) -> None:
    await prove(dev, shop, kills=20, actions=200)
