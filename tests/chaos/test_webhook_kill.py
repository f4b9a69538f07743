"""The worker is killed between the end of a run and the webhook that tells of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from tests.support.dev import DevServer, dev_server
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.source import Source, issues

_WRITTEN = """
SELECT count(*) FROM webhook_deliveries WHERE connection_id = $1 AND type = 'sync'
"""


@pytest.fixture(scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path_factory.mktemp("dev")) as server:
        yield server


async def told_of(dev: DevServer, connection_id: str) -> list[dict]:
    """Wait until all deliveries of a connection have ended."""
    async with asyncio.timeout(90):
        while True:
            query = {"connection_id": connection_id, "type": "sync"}
            found = (await dev.call("GET", "/webhooks/deliveries", params=query))["deliveries"]
            if found and all(one["status"] != "pending" for one in found):
                return found
            await asyncio.sleep(0.2)


@pytest.mark.timeout(300)
async def test_webhook_comes_although_its_worker_died_before_it_was_sent(
    dev: DevServer, source: Source, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver)
    source.records = issues(100)
    settings = {"primary_url": receiver.url, "on_auth_creation": False}
    await dev.call("PATCH", "/environment/webhooks", json=settings)
    await dev.deploy(project())
    database = await asyncpg.connect(dev.info["database_url"])
    in_between = 0
    try:
        # The moment lasts some milliseconds; a kill that comes too late proves less, so try again.
        for round_ in range(1, 6):
            connection_id = f"killed-{round_}"
            await dev.connect(source.url, connection_id)
            asked = len(receiver.asked)
            await dev.trigger(connection_id)
            async with asyncio.timeout(60):
                while not await database.fetchval(_WRITTEN, connection_id):
                    pass
            dev.kill("worker")
            in_between += len(receiver.asked) == asked

            (delivery,) = await told_of(dev, connection_id)

            assert delivery["status"] == "delivered", delivery
            taken = [one for one in receiver.taken if one.payload["connectionId"] == connection_id]
            assert {one.delivery for one in taken} == {delivery["id"]}
            run = await dev.finished_run(connection_id)
            assert (run["status"], delivery["run_id"]) == ("success", run["id"])
            if in_between >= 2:
                break
    finally:
        await database.close()
    assert in_between >= 1, "every kill came after the webhook"


@pytest.mark.timeout(180)
async def test_webhook_whose_worker_died_while_it_was_sent_is_sent_again_under_its_id(
    dev: DevServer, source: Source, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver)

    def hang(number: int) -> Response | None:
        if number == 1:
            time.sleep(3)
        return None

    receiver.before = hang
    source.records = issues(100)
    settings = {"primary_url": receiver.url, "on_auth_creation": False}
    await dev.call("PATCH", "/environment/webhooks", json=settings)
    await dev.deploy(project())
    await dev.connect(source.url, "hanging")
    await dev.trigger("hanging")
    async with asyncio.timeout(60):
        while not receiver.asked:
            await asyncio.sleep(0.02)

    dev.kill("worker")
    (delivery,) = await told_of(dev, "hanging")

    assert delivery["status"] == "delivered"
    assert len(receiver.asked) == 2
    assert {one.delivery for one in receiver.asked} == {delivery["id"]}
