"""Postgres or Temporal is killed in the middle of a sync; nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.test_kill_pages import SAVING
from tests.support.dev import DevServer, dev_server
from tests.support.project import PAGINATED, project
from tests.support.source import Source, issues

PAGES = 200


@pytest.fixture(scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path_factory.mktemp("dev")) as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("script", [SAVING, PAGINATED], ids=["save", "loop"])
@pytest.mark.parametrize("server", ["postgres", "temporal"])
async def test_sync_goes_on_after_a_server_was_killed(
    dev: DevServer, source: Source, server: str, script: str
) -> None:
    source.records = issues(PAGES * 100)
    source.before = lambda _: time.sleep(0.01)
    form = "save" if script == SAVING else "loop"
    connection = f"{form}-{server}"
    await dev.deploy(project(script))
    await dev.connect(source.url, connection)

    await dev.trigger(connection)
    async with asyncio.timeout(90):
        while len(source.served) < 60:
            await asyncio.sleep(0.005)
    killed = dev.kill(server)
    assert len(source.served) < PAGES, "the kill came in the middle"
    async with asyncio.timeout(60):
        while dev.info["pids"][server] in (killed, None):
            await asyncio.sleep(0.05)
        # The API says 503 for as long as Postgres recovers.
        while (await dev.client.get("/runs")).status_code != 200:
            await asyncio.sleep(0.1)
    run = await dev.finished_run(connection, timeout=120)

    assert run["status"] == "success", run
    records = await dev.records(connection)
    assert {int(record["id"]) for record in records} == set(range(1, PAGES * 100 + 1))
    assert len(records) == PAGES * 100
    assert run["counts"]["Issue"] == {
        "added": PAGES * 100,
        "updated": 0,
        "deleted": 0,
        "unchanged": 0,
    }
