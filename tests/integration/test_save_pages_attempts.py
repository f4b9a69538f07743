"""Steps that save pages are interrupted, overtaken, cancelled and retried."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import ActivityEnvironment
from werkzeug import Response

from activities.connections import ConnectionRef
from activities.http import FetchPageInput
from activities.records import BatchVerb
from activities.retries import RetryInput
from activities.save_pages import SavedSlice, SavePagesInput
from perdure.app.registrations import activities_of, replayer_of
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.runs import RunStatus
from perdure.errors import UnavailableError, UpstreamError
from perdure.proxy.requests import HttpRequest
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.support.project import project
from tests.support.runs import a_run
from tests.support.source import Source, issues
from tests.support.stack import Stack

PAGES = """
    pages = nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    )
"""

MENDED = f"""
def to_issue(raw):
    return {{"id": raw["id"], "title": raw["title"]}}


async def fetch_data(nango):
{PAGES}
    saved = await pages.save("Issue", map=to_issue)
    await nango.log(f"{{saved.pages}} pages, {{saved.added}} added")
"""
BROKEN = MENDED.replace('raw["title"]', 'raw["title"] if raw["number"] < 150 else raw["name"]')


@pytest.fixture
def source() -> Iterator[Source]:
    """Answers one request while it holds another."""
    with HTTPServer(threaded=True) as server:
        yield Source(server, issues(250))


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with HttpTransport(AddressGuard(allow_private_networks=True)) as transport:
        yield transport


async def a_call(stack: Stack, connection: Connection) -> SavePagesInput:
    """A step of a run that nobody executes."""
    bundle = await stack.deploy(project(MENDED))
    context = await a_run(stack, connection)
    ref = ConnectionRef(
        environment_id=stack.environment.id,
        integration="tracker",
        connection_id="acme",
        key=connection.key,
    )
    paginate = {
        "type": "cursor",
        "cursor_name_in_request": "cursor",
        "cursor_path_in_response": "next",
        "response_path": "items",
    }
    request = HttpRequest(endpoint="/issues")
    return SavePagesInput(
        context=context,
        number=1,
        verb=BatchVerb.SAVE,
        model="Issue",
        page=FetchPageInput(connection=ref, request=request, paginate=paginate),
        bundle=bundle,
        seconds=60,
    )


def environment_of(call: SavePagesInput, number: int) -> ActivityEnvironment:
    """The surroundings of an attempt that is given out half a minute after the one before."""
    environment = ActivityEnvironment()
    environment.info = replace(
        environment.info,
        attempt=number,
        workflow_id=call.context.workflow_id,
        current_attempt_scheduled_time=utcnow() + timedelta(seconds=30 * number),
    )
    return environment


def attempt(
    stack: Stack,
    transport: HttpTransport,
    call: SavePagesInput,
    number: int,
    environment: ActivityEnvironment | None = None,
) -> asyncio.Task[SavedSlice]:
    """Begin an attempt of the step."""
    (step,) = (
        each for each in activities_of(stack.container, transport) if each.__name__ == "save_pages"
    )
    return asyncio.create_task((environment or environment_of(call, number)).run(step, call))


async def test_a_worker_that_stops_saves_its_page_and_hands_the_rest_on(
    stack: Stack, source: Source, transport: HttpTransport
) -> None:
    call = await a_call(stack, await stack.connect(source.url))
    environment = environment_of(call, 1)

    def stop(page: int) -> None:
        if page == 1:
            loop.call_soon_threadsafe(environment.worker_shutdown)

    loop = asyncio.get_running_loop()
    source.before = stop
    first = await attempt(stack, transport, call, 1, environment)
    second = await attempt(stack, transport, call, 2)

    assert (first.done, first.pages, first.following) == (False, 1, "2")
    assert (second.done, second.pages, second.counts["added"]) == (True, 3, 250)
    assert source.served == {1: 1, 2: 1, 3: 1}


async def test_an_attempt_that_was_given_up_but_lives_on_saves_nothing_any_more(
    stack: Stack, source: Source, transport: HttpTransport
) -> None:
    connection = await stack.connect(source.url)
    call = await a_call(stack, connection)
    reached, release = threading.Event(), threading.Event()
    asked: list[int] = []

    def before(page: int) -> Response | None:
        asked.append(page)
        if asked.count(2) == 1 and page == 2:
            reached.set()
            release.wait(20)
        return None

    source.before = before
    first = attempt(stack, transport, call, 1)
    assert await asyncio.to_thread(reached.wait, 20)
    second = await attempt(stack, transport, call, 2)
    # What the source says meanwhile must not come from the first attempt.
    source.records = [{**record, "title": "late"} for record in issues(250)]
    release.set()

    with pytest.raises(UnavailableError) as late:
        await first

    assert late.value.code == "attempt_superseded"
    assert (second.done, second.pages, second.counts["added"]) == (True, 3, 250)
    records = await stack.records(connection)
    assert len(records) == 250
    assert "late" not in {record["title"] for record in records}
    run = await stack.container.database.runs.of_workflow(call.context.workflow_id)
    assert run is not None
    assert run.counts["Issue"]["added"] == 250
    before_again = len(asked)
    again = await attempt(stack, transport, call, 3)
    assert (again.done, again.counts) == (True, second.counts)
    assert len(asked) == before_again, "what is done is not asked for again"


async def test_waits_grow_while_a_page_fails_and_begin_anew_behind_it(
    stack: Stack, source: Source, transport: HttpTransport
) -> None:
    call = await a_call(stack, await stack.connect(source.url))
    failing = {2}
    source.before = lambda page: Response(status=503) if page in failing else None

    async def waits(number: int) -> float | None:
        with pytest.raises(UpstreamError) as failure:
            await attempt(stack, transport, call, number)
        assert failure.value.retryable
        return failure.value.retry_after

    at_two = [await waits(number) for number in range(1, 5)]
    failing = {3}
    at_three = await waits(5)
    failing = set()
    done = await attempt(stack, transport, call, 6)

    assert at_two == [1, 1, 2, 4]
    assert at_three == 1
    assert (done.done, done.pages, done.counts["added"]) == (True, 3, 250)
    assert source.served == {1: 1, 2: 1, 3: 1}


@pytest.mark.timeout(120)
async def test_cancelling_is_heard_while_a_page_is_waited_for(stack: Stack, source: Source) -> None:
    reached, release = threading.Event(), threading.Event()

    def hang(page: int) -> Response | None:
        if page == 2:
            reached.set()
            release.wait(60)
        return None

    source.before = hang
    await stack.deploy(project(MENDED))
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await asyncio.to_thread(reached.wait, 20)

    await handle.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    release.set()

    assert isinstance(caught.value.cause, CancelledError)
    run = await stack.run(handle)
    assert run.status is RunStatus.CANCELLED
    assert run.counts["Issue"]["added"] == 100
    assert len(await stack.records(connection)) == 100


@pytest.mark.timeout(120)
async def test_a_mended_script_goes_on_at_the_page_that_failed(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(BROKEN))
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    first = dict(source.served)
    mended = await stack.deploy(project(MENDED))

    client = stack.container.temporal
    await client.execute_workflow(
        WorkflowType.RETRY,
        RetryInput(
            environment_id=stack.environment.id,
            run_id=handle.result_run_id or "",
            bundle=mended,
        ),
        id=f"retry/{handle.id}",
        task_queue=TaskQueue.ACTIONS,
    )
    await client.get_workflow_handle(handle.id).result()

    assert first[1] == source.served[1] == 1
    run = await stack.run(handle)
    assert run.status is RunStatus.SUCCESS
    assert run.counts["Issue"] == {"added": 250, "updated": 0, "deleted": 0, "unchanged": 0}
    logs = await stack.container.database.runs.logs(run.id)
    assert logs[-1].message == "3 pages, 250 added"


def steps(events: list[HistoryEvent]) -> list[str]:
    names = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    return [name for name in names if name == "save_pages"]


async def test_slices_grow_and_come_to_one_read(stack: Stack, source: Source) -> None:
    source.records = issues(1_000)
    source.before = lambda _: time.sleep(0.4)
    await stack.deploy(project(MENDED))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 1_000
    assert set(source.served.values()) == {1}, "no page is thrown away at the end of a slice"
    history = await handle.fetch_history()
    assert 2 <= len(steps(list(history.events))) <= 4
    await replayer_of(stack.container).replay_workflow(history)
    progress: Any = await handle.query("progress")
    assert progress["pages"] == 10


async def test_items_side_by_side_have_reads_of_their_own(stack: Stack, source: Source) -> None:
    script = f"""
import asyncio

def mine(raw):
    return {{"id": f"a{{raw['id']}}", "title": "a"}}

def theirs(raw):
    return {{"id": f"b{{raw['id']}}", "title": "b"}}

async def both(nango, number):
{PAGES}
    one, two = await asyncio.gather(
        pages.save("Issue", map=mine), pages.save("Issue", map=theirs)
    )
    return one.added + two.added

async def fetch_data(nango):
    found = await nango.each([1, 2], both)
    await nango.log(sum(found))
"""
    await stack.deploy(project(script))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 500
    assert result.counts["Issue"]["unchanged"] == 500
    assert set(source.served.values()) == {4}
    logs = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert [line.message for line in logs] == ["500"]


TRACKED = """
from perdure import ActionError, NangoSync


def to_issue(raw):
    return {"id": raw["id"], "title": raw["title"]}


async def fetch_data(nango: NangoSync) -> None:
    await nango.each(["all"], read, concurrency=1)


async def read(nango: NangoSync, item: str) -> None:
    await nango.track_deletes_start("Issue")
    pages = nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    )
    await pages.save("Issue", map=to_issue)
    await nango.track_deletes_end("Issue")
    if (await nango.get_metadata()).get("broken"):
        raise ActionError("broken")
"""


async def test_an_item_that_is_retried_reads_all_for_the_track_it_begins(
    stack: Stack, source: Source
) -> None:
    bundle = await stack.deploy(project(TRACKED))
    connection = await stack.connect(source.url, metadata={"broken": True})
    handle = await stack.start_sync(connection)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    names = (stack.environment.id, connection.integration, ["acme"])
    await stack.container.database.connections.set_metadata(*names, {"broken": False})

    client = stack.container.temporal
    await client.execute_workflow(
        WorkflowType.RETRY,
        RetryInput(
            environment_id=stack.environment.id, run_id=handle.result_run_id or "", bundle=bundle
        ),
        id=f"retry/{handle.id}",
        task_queue=TaskQueue.ACTIONS,
    )
    await client.get_workflow_handle(handle.id).result()

    live = [r for r in await stack.records(connection) if not r["_nango_metadata"]["deleted_at"]]
    assert len(live) == 250
    # What was saved before the track began is not seen in it.
    assert source.served[1] == 2
    assert (await stack.run(handle)).counts["Issue"]["deleted"] == 0
