"""Many connections on one worker take turns: none waits until a big one is done."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from temporalio.client import WorkflowExecutionStatus

from activities import save_pages
from config.settings import Settings
from perdure.app.container import open_container
from perdure.app.worker import locate_script, workers
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.watchdog import Watchdog
from tests.support.project import project
from tests.support.stack import Stack, namespaced
from tests.support.upstream import OK, Asked, Upstream
from workflows.nango import pipelines

STEPS = 100
SMALL = 20

SCRIPT = """
import asyncio

async def fetch_data(nango):
    steps = (await nango.get_metadata())["steps"]
    await asyncio.gather(*(nango.get(f"/things/{n}") for n in range(steps)))
"""


@asynccontextmanager
async def narrowed(settings: Settings, steps: int) -> AsyncIterator[Stack]:
    """A stack whose worker has room for so many steps."""
    async with AsyncExitStack() as opened:
        own = await namespaced(settings, worker_steps=steps)
        container = await opened.enter_async_context(
            open_container(own, name="narrow", watchdog=Watchdog(locate_script))
        )
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await opened.enter_async_context(HttpTransport(guard))
        for worker in workers(container, transport):
            await opened.enter_async_context(worker)
        yield await Stack.create(container)


@pytest.fixture
async def narrow(settings: Settings) -> AsyncIterator[Stack]:
    """A worker that has room for two steps."""
    async with narrowed(settings, 2) as stack:
        yield stack


async def test_small_syncs_do_not_wait_for_the_steps_of_a_big_one(narrow: Stack) -> None:
    served: Counter[str] = Counter()
    may_answer = asyncio.Event()

    async def answer(asked: Asked) -> None:
        await may_answer.wait()
        key = asked.headers["authorization"]
        if "big" in key:
            # Or all were made in the time that the workflows of the small ones take by themselves.
            await asyncio.sleep(0.1)
        served[key] += 1
        await asked.answer(OK)

    async with Upstream(answer).serving() as upstream:
        await narrow.deploy(project(SCRIPT))
        big = await narrow.connect(upstream.url, api_key="big", metadata={"steps": STEPS})
        small = [
            await narrow.connect(
                upstream.url, connection_id=f"small-{n}", api_key="small", metadata={"steps": 1}
            )
            for n in range(SMALL)
        ]
        of_big = await narrow.start_sync(big)
        while len((await of_big.describe()).raw_description.pending_activities) < STEPS:
            await asyncio.sleep(0.05)
        of_small = [await narrow.start_sync(connection) for connection in small]
        may_answer.set()
        await asyncio.gather(*(run.result() for run in of_small))
        of_big_by_then = sum(n for key, n in served.items() if "big" in key)
        await of_big.result()

    assert sum(served.values()) == STEPS + SMALL
    assert of_big_by_then < STEPS / 2


READ = """
async def fetch_data(nango):
    path = (await nango.get_metadata())["path"]
    paginate = {"type": "link", "link_path_in_response_body": "next", "response_path": "items"}
    await nango.paginate(endpoint=path, paginate=paginate).save("Issue")
"""


async def test_a_long_read_gives_way_where_others_wait_for_its_place(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Left alone it would be one step.
    monkeypatch.setattr(pipelines, "_FIRST_SECONDS", 600.0)
    monkeypatch.setattr(save_pages, "_SHARE", 0.001)
    monkeypatch.setattr(save_pages, "_LEAST_TURN", 0.0)
    is_over, numbers = asyncio.Event(), itertools.count()

    async def answer(asked: Asked) -> None:
        number = next(numbers)
        goes_on = "/long" in asked.line and not is_over.is_set()
        page = {
            "items": [{"id": str(number), "title": "a"}],
            "next": f"/long?page={number}" if goes_on else None,
        }
        body = json.dumps(page).encode()
        await asked.answer(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async with narrowed(settings, 1) as stack, Upstream(answer).serving() as upstream:
        await stack.deploy(project(READ))
        long = await stack.connect(upstream.url, metadata={"path": "/long"})
        short = await stack.connect(
            upstream.url, connection_id="short", metadata={"path": "/short"}
        )
        of_long = await stack.start_sync(long)
        while not upstream.asked:
            await asyncio.sleep(0.05)
        of_short = await stack.start_sync(short)
        async with asyncio.timeout(30):
            await of_short.result()
        long_goes_on = (await of_long.describe()).status is WorkflowExecutionStatus.RUNNING
        is_over.set()
        await of_long.result()

    assert long_goes_on
