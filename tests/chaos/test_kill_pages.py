"""Workers are killed while pages are saved past the script; nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.support.dev import DevServer
from tests.support.project import project
from tests.support.source import Source, issues

SAVING = """
from models import Issue


def to_issue(raw):
    return Issue(id=raw["id"], title=raw["title"])


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
    saved = await pages.save("Issue", map=to_issue)
    await nango.log(f"{saved.pages} pages, {saved.added} added")
"""

# One that is being saved, two that are mapped or wait for that, and one that is being fetched.
IN_FLIGHT = 4


@pytest.mark.parametrize(
    ("pages", "kills", "within"),
    [
        # The interpreter's start is what a busy machine makes long.
        pytest.param(200, 3, 45, marks=pytest.mark.timeout(400)),
        pytest.param(1_000, 20, 15, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
async def test_pages_go_on_at_the_cursor_whenever_the_worker_is_killed(
    dev: DevServer, source: Source, pages: int, kills: int, within: float
) -> None:
    source.records = issues(pages * 100)
    # As slow as an API is, so that a worker that starts does not catch up in a moment.
    source.before = lambda _: time.sleep(0.01)
    connection = f"pages-{pages}"
    await dev.deploy(project(SAVING))
    await dev.connect(source.url, connection)
    moments = random.Random(pages)
    due = sorted(moments.sample(range(5, pages - 5), kills))

    await dev.trigger(connection)
    resumed: list[float] = []
    for page in due:
        async with asyncio.timeout(90):
            while max(source.served, default=0) < page:
                await asyncio.sleep(0.005)
        await asyncio.sleep(moments.random() * 0.02)
        before = max(source.served)
        killed = dev.kill("worker")
        async with asyncio.timeout(90):
            while dev.info["pids"]["worker"] == killed:
                await asyncio.sleep(0.02)
            restarted = time.monotonic()
            while max(source.served) <= before + 1 and max(source.served) < pages:
                await asyncio.sleep(0.02)
        resumed.append(time.monotonic() - restarted)
    run = await dev.finished_run(connection, timeout=240)

    assert run["status"] == "success", run
    records = await dev.records(connection)
    assert len(records) == pages * 100
    assert {int(record["id"]) for record in records} == set(range(1, pages * 100 + 1))
    assert run["counts"]["Issue"] == {
        "added": pages * 100,
        "updated": 0,
        "deleted": 0,
        "unchanged": 0,
    }
    assert set(source.served) == set(range(1, pages + 1))
    assert sum(source.served.values()) <= pages + IN_FLIGHT * kills, source.served.most_common(9)
    print("resumed after", [round(seconds, 1) for seconds in resumed])
    assert max(resumed) < within
