"""A script that fetches page after page in a loop, for as long as it likes."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
from pathlib import Path

import psutil
import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import Client
from werkzeug import Request, Response

from tests.support.dev import dev_server
from tests.support.project import project

PAGES = int(os.environ.get("PAGES", "20000"))

LOOP = """
async def fetch_data(nango):
    place = await nango.get_checkpoint()
    page = place["page"] if place else 1
    while page:
        answer = (await nango.get(endpoint="/pages", params={"page": str(page)})).data
        await nango.batch_save(answer["items"], "Issue")
        page = answer["next"]
        if page and page % 10 == 0:
            await nango.save_checkpoint({"page": page})
    await nango.clear_checkpoint()
"""


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
async def test_loop_over_20_000_pages_keeps_its_histories_short_and_its_worker_small(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    served = 0

    def answer(request: Request) -> Response:
        nonlocal served
        served += 1
        page = int(request.args["page"])
        items = [{"id": f"{page}-{n}", "title": f"Issue {n} of page {page}"} for n in range(2)]
        body = {"items": items, "next": page + 1 if page < PAGES else None}
        return Response(json.dumps(body), content_type="application/json")

    httpserver.expect_request("/pages").respond_with_handler(answer)
    async with dev_server(tmp_path) as dev:
        await dev.deploy(project(LOOP))
        await dev.connect(httpserver.url_for("").rstrip("/"))
        worker = psutil.Process(dev.info["pids"]["worker"])
        await dev.trigger()
        sizes: list[float] = []
        run = await dev.latest_run()
        while run is None or run["status"] == "running":
            await asyncio.sleep(5)
            sizes.append(worker.memory_info().rss / 2**20)
            run = await dev.latest_run()

        assert run["status"] == "success", run
        assert run["counts"]["Issue"]["added"] == 2 * PAGES
        assert served == PAGES
        client = await Client.connect(dev.info["temporal_address"])
        lengths = [
            execution.history_length or 0
            async for execution in client.list_workflows(f"WorkflowId = '{run['workflow_id']}'")
        ]
        minutes = run["duration_s"] / 60
        early = statistics.median(sizes[: len(sizes) // 4])
        late = statistics.median(sizes[-len(sizes) // 4 :])
        print(
            f"\n{PAGES:,} pages in {minutes:.1f} min, {len(lengths)} executions of at most "
            f"{max(lengths):,} events; worker {early:.0f} MB early, {late:.0f} MB late, "
            f"{max(sizes):.0f} MB at most"
        )
        assert max(lengths) < 5_000
        assert late < early * 1.2
