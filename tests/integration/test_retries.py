"""Transient failures are waited out by Temporal, not by a worker."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AsyncExitStack

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import WorkflowFailureError
from werkzeug import Response

from config.settings import Settings
from perdure.app.container import open_container
from perdure.app.worker import workers
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.failures import describe_failure
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack, namespaced


async def test_rate_limit_and_server_errors_are_retried_without_holding_a_worker(
    stack: Stack, source: Source
) -> None:
    refused: list[tuple[int, float]] = []
    answers = {2: [Response("slow down", 429, {"Retry-After": "3"})], 3: [Response("oops", 500)]}

    def misbehave(page: int) -> Response | None:
        if not answers.get(page):
            return None
        refused.append((page, time.monotonic()))
        return answers[page].pop()

    source.before = misbehave
    await stack.deploy(project())
    handle = await stack.start_sync(await stack.connect(source.url))

    waiting = None
    while waiting is None:
        await asyncio.sleep(0.05)
        description = (await handle.describe()).raw_description
        waiting = next((a for a in description.pending_activities if a.attempt > 1), None)
    result = await handle.result()
    finished = time.monotonic()

    assert waiting.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    assert "429" in waiting.last_failure.message
    assert waiting.next_attempt_schedule_time.ToSeconds() > 0
    assert result.counts["Issue"]["added"] == 250
    assert [page for page, _ in refused] == [2, 3]
    assert finished - refused[0][1] >= 3
    assert source.served == {1: 1, 2: 1, 3: 1}


async def test_write_that_was_refused_before_it_was_processed_is_repeated(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project(
            """
            async def fetch_data(nango):
                answer = await nango.post(endpoint="/orders", data={"n": 1})
                await nango.batch_save([{"id": answer.data["id"], "title": "x"}], "Issue")
            """
        )
    )
    answers = [Response("busy", 429, {"Retry-After": "1"}), Response('{"id": "o1"}', 200)]
    calls = []

    def order(request: object) -> Response:
        calls.append(request)
        answer = answers.pop(0)
        answer.content_type = "application/json" if answer.status_code == 200 else "text/plain"
        return answer

    source.server.expect_request("/orders", method="POST").respond_with_handler(order)
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert len(calls) == 2
    assert [record["id"] for record in await stack.records(connection)] == ["o1"]


async def test_write_with_an_unknown_outcome_is_not_repeated(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            """
            from perdure import HttpError

            async def fetch_data(nango):
                try:
                    await nango.post(endpoint="/orders", data={"n": 1})
                except HttpError as error:
                    await nango.batch_save([{"id": "1", "title": str(error.status)}], "Issue")
            """
        )
    )
    calls = []

    def order(request: object) -> Response:
        calls.append(request)
        return Response("half done", 500)

    source.server.expect_request("/orders", method="POST").respond_with_handler(order)
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert len(calls) == 1
    assert (await stack.records(connection))[0]["title"] == "500"


async def test_write_is_not_repeated_when_its_worker_stops(
    settings: Settings, source: Source
) -> None:
    """A worker that is shut down in the middle of a POST does not know what became of it."""
    calls = []
    arrived, release = threading.Event(), threading.Event()

    def order(request: object) -> Response:
        calls.append(request)
        arrived.set()
        release.wait(40)
        return Response('{"id": "o1"}', content_type="application/json")

    source.server.expect_request("/orders", method="POST").respond_with_handler(order)
    own = await namespaced(settings)
    async with AsyncExitStack() as opened:
        container = await opened.enter_async_context(open_container(own, name="stopping"))
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await opened.enter_async_context(HttpTransport(guard))
        stack = await Stack.create(container)
        await stack.deploy(
            project("async def fetch_data(nango):\n    await nango.post(endpoint='/orders')\n")
        )
        connection = await stack.connect(source.url)
        async with AsyncExitStack() as first:
            for worker in workers(container, transport):
                await first.enter_async_context(worker)
            handle = await stack.start_sync(connection)
            assert await asyncio.to_thread(arrived.wait, 20)
        for worker in workers(container, transport):
            await opened.enter_async_context(worker)
        try:
            with pytest.raises(WorkflowFailureError) as caught:
                await handle.result()
        finally:
            release.set()

    assert len(calls) == 1
    assert "outcome is unknown" in describe_failure(caught.value)["message"]


SAYS = """
async def fetch_data(nango):
    await nango.log("said")
"""


async def test_a_line_of_the_log_that_takes_long_to_write_gives_signs_of_life(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(SAYS))
    connection = await stack.connect(source.url)

    async with stack.container.database.transaction() as conn:
        await conn.execute("LOCK TABLE run_logs IN ACCESS EXCLUSIVE MODE")
        handle = await stack.start_sync(connection)
        async with asyncio.timeout(30):
            alive = False
            while not alive:
                await asyncio.sleep(0.1)
                described = (await handle.describe()).raw_description
                alive = any(
                    step.activity_type.name == "write_log" and step.HasField("last_heartbeat_time")
                    for step in described.pending_activities
                )
    await handle.result()

    (line,) = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert line.message == "said"
