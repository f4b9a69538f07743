"""Processes are killed without warning in the middle of a sync; nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from temporalio.client import Client

from tests.support.dev import DevServer
from tests.support.project import project
from tests.support.source import Source, issues

PAGES = 200
SLICE = 50
"""Most pages that a script's loop has fetched for it in one step."""


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def start(dev: DevServer, source: Source, connection_id: str) -> None:
    source.records = issues(PAGES * 100)
    await dev.deploy(project())
    await dev.connect(source.url, connection_id)
    await dev.trigger(connection_id)


def assert_complete(run: dict, records: list[dict]) -> None:
    assert run["status"] == "success", run
    assert len(records) == PAGES * 100
    assert {int(r["id"]) for r in records} == set(range(1, PAGES * 100 + 1))


@pytest.mark.timeout(180)
async def test_sync_goes_on_at_its_page_after_its_worker_was_killed(
    dev: DevServer, source: Source
) -> None:
    await start(dev, source, "killed-worker")
    await until(lambda: len(source.served) >= 60)

    dev.kill("worker")
    fetched_before = len(source.served)
    run = await dev.finished_run("killed-worker")

    assert fetched_before < PAGES, "the kill came in the middle"
    assert_complete(run, await dev.records("killed-worker"))
    # At most what was in flight at the kill is asked for again.
    assert set(source.served) == set(range(1, PAGES + 1))
    again = sorted(page for page, times in source.served.items() if times > 1)
    assert max(source.served.values()) <= 2, source.served.most_common(3)
    assert len(again) <= SLICE, again
    assert again == list(range(again[0], again[-1] + 1)) if again else True, "one slice"
    assert run["counts"]["Issue"]["added"] == PAGES * 100
    client = await Client.connect(dev.info["temporal_address"])
    found = [
        execution.run_id
        async for execution in client.list_workflows("PerdureConnection = 'killed-worker'")
        if execution.workflow_type == "sync"
    ]
    assert found == [run["id"]], "the history shows one run, not two"


@pytest.mark.timeout(180)
async def test_sync_does_not_notice_that_the_api_was_killed(dev: DevServer, source: Source) -> None:
    await start(dev, source, "killed-api")
    await until(lambda: len(source.served) >= 40)

    killed = dev.kill("api")
    await until(lambda: dev.info["pids"]["api"] != killed, 15)
    await dev.answering()
    run = await dev.finished_run("killed-api")

    assert_complete(run, await dev.records("killed-api"))
    assert set(source.served.values()) == {1}
