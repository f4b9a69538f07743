"""Runs whose history gets long: they start again at a checkpoint, or are warned and then ended."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from werkzeug import Request, Response

from activities.retries import RetryInput
from api.app import create_app
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.registrations import replayer_of
from perdure.app.worker import workers
from perdure.db.runs import RunStatus, StoredLogLine
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.failures import describe_failure, leaf_failure
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.api.calls import client_of, error_of
from tests.support.project import project
from tests.support.source import Source, issues
from tests.support.stack import Stack, namespaced

EVENTS = 300
"""Events a history may have here; a fifth of it is long."""

LOOP = """
async def fetch_data(nango):
    await nango.log("begun")
    place = await nango.get_checkpoint()
    page = place["page"] if place else 1
    while page:
        answer = (await nango.get(endpoint="/issues", params={"cursor": str(page)})).data
        records = [{"id": i["id"], "title": i["title"]} for i in answer["items"]]
        await nango.batch_save(records, "Issue")
        page = answer["next"]
        if page:
            await nango.save_checkpoint({"page": page})
    await nango.clear_checkpoint()
"""

STUBBORN = """
async def fetch_data(nango):
    place = await nango.get_checkpoint()
    n = place["n"] if place else 0
    while n < 40:
        n += 1
        try:
            await nango.batch_save([{"id": str(n), "title": "t"}], "Issue")
            await nango.save_checkpoint({"n": n})
        except BaseException as error:
            await nango.log("caught", repr(error), level="error")
"""

SIDE_BY_SIDE = """
import asyncio

async def count(nango, done):
    n = 0
    while not done.is_set():
        n += 1
        await nango.batch_save([{"id": "side", "title": str(n)}], "Issue")

async def fetch_data(nango):
    place = await nango.get_checkpoint()
    n = place["n"] if place else 0
    done = asyncio.Event()
    side = asyncio.create_task(count(nango, done))
    while n < 20:
        n += 1
        await nango.save_checkpoint({"n": n})
    done.set()
    await side
"""

DOOMED = """
import asyncio

def deep():
    value = {}
    for _ in range(220):
        value = {"a": value}
    return value

async def write(nango, begun):
    await begun.wait()
    await nango.batch_update([{"id": "1", "title": deep()}], "Issue")

async def fetch_data(nango):
    if await nango.get_checkpoint():
        return
    for _ in range(15):
        await nango.get_metadata()
    begun = asyncio.Event()
    side = asyncio.create_task(write(nango, begun))
    begun.set()
    try:
        await nango.save_checkpoint({"n": 1})
    except Exception as error:
        await nango.log("told", error.code)
"""


@pytest.fixture(scope="module")
async def short(settings: Settings) -> AsyncIterator[Container]:
    """Workers of a namespace whose histories are short."""
    async with AsyncExitStack() as opened:
        own = await namespaced(settings, temporal_history_events=EVENTS)
        container = await opened.enter_async_context(open_container(own, name="short"))
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await opened.enter_async_context(HttpTransport(guard))
        for worker in workers(container, transport):
            await opened.enter_async_context(worker)
        yield container


@pytest.fixture
async def stack(short: Container) -> Stack:
    return await Stack.create(short)


async def executions(client: Client, handle: WorkflowHandle[Any, Any]) -> list[list[HistoryEvent]]:
    """Return the histories of a run's executions, the first one first."""
    histories: list[list[HistoryEvent]] = []
    run_id = handle.result_run_id or ""
    while run_id:
        own = client.get_workflow_handle(handle.id, run_id=run_id)
        histories.append(list((await own.fetch_history()).events))
        last = histories[-1][-1]
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return histories


async def assert_replays(stack: Stack, handle: WorkflowHandle[Any, Any]) -> None:
    """Replay every execution of a run, as a worker does that takes it over."""
    replayer = replayer_of(stack.container)
    for events in await executions(stack.container.temporal, handle):
        await replayer.replay_workflow(WorkflowHistory(handle.id, events))


async def log_of(stack: Stack, handle: WorkflowHandle[Any, Any]) -> list[StoredLogLine]:
    assert handle.result_run_id is not None
    return list(await stack.container.database.runs.logs(handle.result_run_id))


async def test_loop_with_checkpoints_starts_again_and_stays_one_run(
    stack: Stack, source: Source
) -> None:
    source.records = issues(3_000)
    await stack.deploy(project(LOOP))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert source.served == Counter(range(1, 31))
    assert result.counts["Issue"]["added"] == 3_000
    run = await stack.run(handle)
    assert (run.status, run.counts["Issue"]["added"]) == (RunStatus.SUCCESS, 3_000)
    assert run.checkpoints == {"from": None, "to": None}
    lengths = [len(events) for events in await executions(stack.container.temporal, handle)]
    assert len(lengths) > 2
    assert max(lengths) < EVENTS / 2
    assert [line.message for line in await log_of(stack, handle)] == ["begun"] * len(lengths)
    runs = await stack.container.database.runs.list(stack.environment.id)
    assert [r.id for r in runs] == [run.id]
    row = await stack.container.database.syncs.ensure(connection.key, "issues", "base")
    assert row.last_sync_date == run.started_at
    await assert_replays(stack, handle)


async def test_script_that_catches_everything_starts_again_all_the_same(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(STUBBORN))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 40
    assert await log_of(stack, handle) == []
    assert len(await executions(stack.container.temporal, handle)) > 2
    await assert_replays(stack, handle)


async def test_steps_beside_a_checkpoint_have_ended_before_the_script_starts_again(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(SIDE_BY_SIDE))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    await handle.result()

    histories = await executions(stack.container.temporal, handle)
    assert len(histories) > 1
    for events in histories:
        scheduled = sum(e.HasField("activity_task_scheduled_event_attributes") for e in events)
        completed = sum(e.HasField("activity_task_completed_event_attributes") for e in events)
        assert scheduled == completed
    await assert_replays(stack, handle)


PAGES_BY_PART = """
async def fetch_data(nango):
    place = await nango.get_checkpoint()
    part = place["part"] if place else 0
    while part < 30:
        part += 1
        pages = nango.paginate(
            endpoint="/issues",
            params={"part": str(part)},
            paginate={
                "type": "cursor",
                "cursor_name_in_request": "cursor",
                "cursor_path_in_response": "next",
                "response_path": "items",
            },
        )
        saved = await pages.save("Issue")
        assert saved.added + saved.unchanged == 250, saved
        await nango.save_checkpoint({"part": part})
    await nango.clear_checkpoint()
"""


async def test_reads_past_the_script_are_not_taken_for_those_before_the_checkpoint(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(PAGES_BY_PART))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert source.served == {1: 30, 2: 30, 3: 30}
    assert result.counts["Issue"]["unchanged"] == 29 * 250
    assert len(await executions(stack.container.temporal, handle)) > 2
    await assert_replays(stack, handle)


async def test_cancelling_reaches_a_run_that_has_started_again(
    stack: Stack, source: Source
) -> None:
    script = """
    async def fetch_data(nango):
        place = await nango.get_checkpoint()
        n = place["n"] if place else 0
        while True:
            n += 1
            await nango.batch_save([{"id": str(n), "title": "t"}], "Issue")
            await nango.save_checkpoint({"n": n})
    """
    await stack.deploy(project(script))
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    client = stack.container.temporal
    async with asyncio.timeout(60):
        while len(await executions(client, handle)) < 3:
            await asyncio.sleep(0.2)

    await client.get_workflow_handle(handle.id).cancel()
    async with asyncio.timeout(20):
        with pytest.raises(WorkflowFailureError):
            await handle.result()

    run = await stack.run(handle)
    assert run.status is RunStatus.CANCELLED
    assert (run.checkpoints or {})["to"]["n"] > 5
    await assert_replays(stack, handle)


@pytest.mark.parametrize(
    "loop",
    # A timer of the server takes a second or so, however short it is.
    [
        "await nango.get_metadata()",
        "await asyncio.gather(*[asyncio.sleep(0.001) for _ in range(10)])",
    ],
    ids=["steps", "timers"],
)
async def test_run_without_checkpoints_is_warned_once_and_then_fails_with_what_to_do(
    stack: Stack, source: Source, loop: str
) -> None:
    script = f"import asyncio\nasync def fetch_data(nango):\n    while True:\n        {loop}\n"
    await stack.deploy(project(script))

    handle = await stack.start_sync(await stack.connect(source.url))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    error = describe_failure(caught.value)
    assert (error["type"], error["file"]) == ("history_limit", "tracker/syncs/issues.py")
    assert "nango.save_checkpoint" in error["message"]
    assert "nango.each" in error["message"]
    (warning,) = await log_of(stack, handle)
    assert (warning.level, "nango.save_checkpoint" in warning.message) == ("warn", True)
    run = await stack.run(handle)
    assert (run.status, (run.error or {})["type"]) == (RunStatus.FAILED, "history_limit")
    # What is under way then adds its events, which is much of so short a history.
    assert (await handle.describe()).history_length < 1.5 * EVENTS
    await assert_replays(stack, handle)


async def test_run_whose_history_is_full_is_not_retried_and_says_why(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project("async def fetch_data(nango):\n    while True:\n        await nango.get_metadata()")
    )
    handle = await stack.start_sync(await stack.connect(source.url))
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    before = await stack.run(handle)

    async with client_of(create_app(stack.container), stack.secret_key) as client:
        answer = await client.post(f"/runs/{handle.result_run_id}/retry")

    assert error_of(answer) == (409, "history_full")
    assert "save_checkpoint" in answer.json()["error"]["message"]
    assert await stack.run(handle) == before


async def test_lock_is_held_over_all_executions_and_released_at_the_end(
    stack: Stack, source: Source
) -> None:
    action = """
    async def run_action(nango, input):
        place = await nango.get_checkpoint()
        n = place["n"] if place else 0
        if n == 0:
            assert await nango.try_acquire_lock(key="long", ttl_ms=600_000)
        while n < 30:
            n += 1
            await nango.save_checkpoint({"n": n})
        return (await nango.get("/try")).data
    """
    loop = asyncio.get_running_loop()
    locks = stack.container.database.locks

    async def can_be_taken() -> bool:
        return await locks.acquire(stack.environment.id, "long", "another", timedelta(hours=1))

    def answer(_: Request) -> Response:
        taken = asyncio.run_coroutine_threadsafe(can_be_taken(), loop).result(10)
        return Response(json.dumps({"taken": taken}), content_type="application/json")

    source.server.expect_request("/try").respond_with_handler(answer)
    await stack.deploy(project(action=action))

    handle = await stack.start_action(await stack.connect(source.url), None)
    output = (await handle.result())["output"]

    assert len(await executions(stack.container.temporal, handle)) > 1
    assert output == {"taken": False}
    assert await can_be_taken()


async def test_action_starts_again_at_its_checkpoint(stack: Stack, source: Source) -> None:
    action = """
    async def run_action(nango, input):
        place = await nango.get_checkpoint()
        n = place["n"] if place else 0
        while n < 30:
            n += 1
            await nango.save_checkpoint({"n": n})
        await nango.clear_checkpoint()
        return {"input": input, "n": n, "run": nango.run_id}
    """
    await stack.deploy(project(action=action))

    handle = await stack.start_action(await stack.connect(source.url), "in")
    output = (await handle.result())["output"]

    assert output == {"input": "in", "n": 30, "run": handle.result_run_id}
    await assert_replays(stack, handle)
    assert len(await executions(stack.container.temporal, handle)) > 1


async def test_item_starts_again_at_its_own_checkpoint(stack: Stack, source: Source) -> None:
    script = """
    async def one(nango, name):
        place = await nango.get_checkpoint()
        n = place["n"] if place else 0
        while n < 30:
            n += 1
            await nango.batch_save([{"id": f"{name}{n}", "title": "t"}], "Issue")
            await nango.save_checkpoint({"n": n})
        return f"{name}{n}"

    async def fetch_data(nango):
        assert await nango.each(["a", "b"], one) == ["a30", "b30"]
        assert await nango.get_checkpoint() is None
    """
    await stack.deploy(project(script))

    handle = await stack.start_sync(await stack.connect(source.url))
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 60
    client = stack.container.temporal
    child = client.get_workflow_handle(f"each/{handle.result_run_id}/1/2")
    last = await child.fetch_history()
    started = last.events[0].workflow_execution_started_event_attributes
    assert started.continued_execution_run_id
    await replayer_of(stack.container).replay_workflow(last)
    await assert_replays(stack, handle)


async def test_run_that_failed_after_it_had_started_again_is_retried(
    stack: Stack, source: Source
) -> None:
    script = """
    async def fetch_data(nango):
        place = await nango.get_checkpoint()
        n = place["n"] if place else 0
        while n < 30:
            n += 1
            await nango.batch_save([{"id": str(n), "title": "t"}], "Issue")
            if n == 25 and (await nango.get_metadata()).get("fail"):
                raise ValueError("as the metadata asks")
            await nango.save_checkpoint({"n": n})
        await nango.clear_checkpoint()
    """
    await stack.deploy(project(script))
    connection = await stack.connect(source.url, metadata={"fail": True})
    handle = await stack.start_sync(connection)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    mended = project(script.replace("raise ValueError", "await nango.log"))
    bundle = await stack.deploy(mended)

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

    run = await stack.run(handle)
    assert (run.status, run.counts["Issue"]) == (
        RunStatus.SUCCESS,
        {"added": 30, "updated": 0, "deleted": 0, "unchanged": 0},
    )


async def test_records_that_cannot_be_written_while_a_checkpoint_is_saved_fail_the_run(
    stack: Stack,
) -> None:
    await stack.validation("off")
    await stack.deploy(project(DOOMED))
    handle = await stack.start_sync(await stack.connect("http://127.0.0.1:9"))

    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    assert leaf_failure(caught.value).type == "invalid_record"
    assert "told invalid_record" in [line.message for line in await log_of(stack, handle)]
    await assert_replays(stack, handle)
