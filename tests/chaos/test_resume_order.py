"""A worker that goes on with a run sees what the one before it saw."""

from __future__ import annotations

import asyncio

import pytest
from werkzeug import Request, Response

from tests.support.dev import DevServer
from tests.support.project import project
from tests.support.source import Source

SETS = """
import asyncio

async def fetch_data(nango):
    await nango.log("begun")
    names = {}
    for key in {"alpha", "beta", "gamma", "delta", "epsilon"}:
        names[key] = (await nango.get(endpoint=f"/name/{key}")).data["name"]
    await nango.get(endpoint="/gate")
    records = [{"id": key, "title": name} for key, name in names.items()]
    await nango.batch_save(records, "Issue")
"""


@pytest.mark.timeout(120)
async def test_sets_of_strings_have_one_order_on_every_worker(
    dev: DevServer, source: Source
) -> None:
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()
    killed = False

    def name(request: Request) -> Response:
        key = request.path.rpartition("/")[2]
        return Response(f'{{"name": "{key}"}}', content_type="application/json")

    def gate(_: Request) -> Response:
        if killed:
            return Response("{}", content_type="application/json")
        loop.call_soon_threadsafe(waiting.set)
        return Response("later", 503, {"Retry-After": "1"})

    for key in ("alpha", "beta", "gamma", "delta", "epsilon"):
        source.server.expect_request(f"/name/{key}").respond_with_handler(name)
    source.server.expect_request("/gate").respond_with_handler(gate)
    await dev.deploy(project(SETS))
    await dev.connect(source.url, "sets")
    await dev.trigger("sets")
    await asyncio.wait_for(waiting.wait(), 30)

    dev.kill("worker")
    killed = True
    run = await dev.finished_run("sets")

    assert run["status"] == "success", run
    records = await dev.records("sets")
    assert {r["id"]: r["title"] for r in records} == {r["id"]: r["id"] for r in records}
    assert len(records) == 5
