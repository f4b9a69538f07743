"""How far runs are that are under way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI
from werkzeug import Request, Response

from api.run_progress import progress_of
from api.run_views import view_run
from tests.api.calls import connect, deploy
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

TARGET = {"provider_config_key": "tracker", "connection_id": "acme", "syncs": []}

EACH = """
async def one(nango, n):
    await nango.get(endpoint="/issues", params={"cursor": str(n)})

async def fetch_data(nango):
    await nango.each([1, 2, 3], one, concurrency=1)
"""

SAVING = """
async def fetch_data(nango):
    pages = nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    )
    await pages.save("Issue")
"""

POSTING = """
async def fetch_data(nango):
    await nango.save_checkpoint({"page": 7})
    await nango.post(endpoint="/orders", data={})
"""


async def running(
    client: httpx.AsyncClient, condition: Callable[[dict[str, Any]], Any]
) -> dict[str, Any]:
    """Trigger the sync and return its run as soon as it is as wanted."""
    await client.post("/sync/trigger", json=TARGET)

    async def poll() -> dict[str, Any]:
        while True:
            for run in (await client.get("/runs", params={"kind": "sync"})).json()["runs"]:
                detail = (await client.get(f"/runs/{run['id']}")).json()
                if condition(detail):
                    return detail
            await asyncio.sleep(0.05)

    return await asyncio.wait_for(poll(), 40)


async def status(client: httpx.AsyncClient) -> dict[str, Any]:
    query = {"provider_config_key": "tracker", "syncs": "*"}
    answer = await client.get("/sync/status", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["syncs"][0]


async def end(client: httpx.AsyncClient) -> None:
    await client.delete("/connections/acme", params={"provider_config_key": "tracker"})


async def test_run_under_way_tells_pages_cursor_counts_and_history(
    live: httpx.AsyncClient, source: Source
) -> None:
    source.before = lambda page: Response("busy", 503) if page == 3 else None
    await deploy(live, project())
    await connect(live, source.url)

    # What a loop saves is written behind: the second page may be read before it is counted.
    run = await running(
        live, lambda r: r["waiting"] and r["counts"].get("Issue", {}).get("added") == 200
    )

    assert (run["progress"]["pages"], run["progress"]["cursor"]) == (2, "3")
    assert "503" in run["waiting"]["reason"]
    assert run["history"]["events"] > 10
    assert run["history"]["bytes"] > 1000
    assert run["next_run_at"] is None  # the schedule is paused
    sync = await status(live)
    assert sync["progress"]["pages"] == 2
    assert "503" in sync["waiting"]["reason"]
    await end(live)


async def test_list_of_syncs_tells_of_a_run_what_the_list_of_runs_tells(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    async def listed(**query: str) -> list[dict[str, Any]]:
        answer = await live.get("/syncs", params=query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["syncs"])

    source.before = lambda page: Response("busy", 503) if page == 2 else None
    await deploy(live, project())
    await connect(live, source.url)
    run = await running(live, lambda r: r["waiting"])

    (waits,) = await listed(status="running")
    await stack.container.temporal.get_workflow_handle(run["workflow_id"]).terminate()
    (ended,) = await listed()

    assert (waits["run_id"], waits["status"]) == (run["id"], "running")
    assert "503" in waits["waiting"]["reason"]
    assert waits["waiting"]["attempt"] >= 2
    assert (ended["run_id"], ended["status"], ended["waiting"]) == (run["id"], "failed", None)
    assert ended["finished_at"] > ended["started_at"]
    assert await listed(status="running") == []
    await end(live)


async def test_wait_of_an_item_is_told_with_the_run(
    live: httpx.AsyncClient, source: Source
) -> None:
    source.before = lambda page: Response("slow down", 429) if page == 2 else None
    await deploy(live, project(EACH))
    await connect(live, source.url)

    run = await running(live, lambda r: r["waiting"])

    progress = run["progress"]
    assert (progress["items"], progress["items_done"], progress["requests"]) == (3, 1, 1)
    assert "429" in run["waiting"]["reason"]
    await end(live)


async def test_wait_before_a_write_is_repeated_is_told_with_its_end(
    live: httpx.AsyncClient, source: Source
) -> None:
    def answer(_: Request) -> Response:
        return Response("later", 429, headers={"Retry-After": "300"})

    source.server.expect_request("/orders").respond_with_handler(answer)
    await deploy(live, project(POSTING))
    await connect(live, source.url)

    run = await running(live, lambda r: r["waiting"])

    assert "429" in run["waiting"]["reason"]
    assert run["waiting"]["attempt"] == 2
    assert run["waiting"]["next_attempt_at"] > run["started_at"]
    assert run["checkpoints"] == {"from": None, "to": {"page": 7}}
    assert (await status(live))["checkpoint"] == {"page": 7}
    await end(live)


async def test_pages_that_are_saved_past_the_script_are_told_while_their_step_works(
    live: httpx.AsyncClient, source: Source
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hold(page: int) -> Response | None:
        if page == 3:
            asked.set()
            release.wait(30)
        return None

    source.before = hold
    await deploy(live, project(SAVING))
    await connect(live, source.url)

    run = await running(live, lambda run: (run["progress"] or {}).get("pages") == 2)

    assert await asyncio.to_thread(asked.wait, 20)
    assert run["counts"]["Issue"]["added"] == 200
    release.set()
    await end(live)


async def test_pages_and_counts_are_told_of_one_moment(
    app: FastAPI, live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    first, rest = threading.Event(), threading.Event()

    def hold(page: int) -> None:
        if page in (1, 3):
            (first if page == 1 else rest).wait(30)

    source.before = hold
    deps = app.state.dependencies
    await deploy(live, project(SAVING))
    await connect(live, source.url)
    begun = await running(live, lambda run: run["progress"])

    # Its row is read before there are pages, its workflow is asked when there are.
    row = await deps.database.runs.get(stack.environment.id, begun["id"])
    before = await view_run(deps, row)
    first.set()
    await running(live, lambda run: (run["progress"] or {}).get("pages") == 2)
    seen = await progress_of(deps, before)

    assert (before.run.counts, seen.progress and seen.progress.pages) == ({}, 2)
    assert seen.view.run.counts["Issue"]["added"] == 200
    rest.set()
    await end(live)


async def test_run_that_has_ended_tells_no_progress(connected: httpx.AsyncClient) -> None:
    run = await running(connected, lambda r: r["status"] == "success")

    assert (run["progress"], run["history"], run["waiting"]) == (None, None, None)
    assert (await status(connected))["progress"] is None
