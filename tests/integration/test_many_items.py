"""`nango.each` over ten thousand items."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import Client

from tests.support.dev import dev_server
from tests.support.project import project

ITEMS = int(os.environ.get("ITEMS", "10000"))

SCRIPT = f"""
async def one(nango, n: int) -> int:
    await nango.batch_save([{{"id": str(n), "title": "t"}}], "Issue")
    return n * n

async def fetch_data(nango):
    assert await nango.each(range({ITEMS}), one) == [n * n for n in range({ITEMS})]
"""


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
async def test_ten_thousand_items_leave_every_history_short(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    async with dev_server(tmp_path) as dev:
        await dev.deploy(project(SCRIPT))
        await dev.connect(httpserver.url_for("").rstrip("/"))
        worker = psutil.Process(dev.info["pids"]["worker"])
        await dev.trigger()
        run = await dev.finished_run(timeout=3600)

        assert run["status"] == "success", run
        assert run["counts"]["Issue"]["added"] == ITEMS
        client = await Client.connect(dev.info["temporal_address"])
        own = await client.get_workflow_handle(run["workflow_id"]).describe()
        batch = await client.get_workflow_handle(f"each/{run['id']}/1/1-500").describe()
        print(
            f"\n{ITEMS:,} items in {run['duration_s'] / 60:.1f} min; {own.history_length} events, "
            f"{batch.history_length} of a batch; worker {worker.memory_info().rss / 2**20:.0f} MB"
        )
        assert own.history_length < 500
        assert batch.history_length < 500 * 10
