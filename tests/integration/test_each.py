"""`nango.each`: a function for every item, each in an execution of its own, all of one run."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowFailureError, WorkflowHandle
from werkzeug import Request, Response

from activities.retries import RetryInput
from perdure.app.registrations import replayer_of
from perdure.db.runs import RunStatus
from perdure.temporal.failures import describe_failure
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack
from workflows.nango import each

TYPED = """
from datetime import date
from pydantic import BaseModel

class Repo(BaseModel):
    name: str
    since: date

class Seen(BaseModel):
    title: str
    year: int

CALLS = []

async def sync_repo(nango, repo: Repo) -> Seen:
    CALLS.append(repo.name)
    await nango.log("at", repo.name, len(CALLS))
    await nango.batch_save([{"id": repo.name, "title": str(repo.since.year)}], "Issue")
    return Seen(title=repo.name.upper(), year=repo.since.year)

async def fetch_data(nango):
    repos = [Repo(name=f"r{n}", since=date(2000 + n, 1, 1)) for n in range(12)]
    seen = await nango.each(repos, sync_repo, concurrency=3)
    assert all(isinstance(s, Seen) for s in seen), seen
    await nango.log(" ".join(s.title for s in seen), seen[3].year)
    assert await nango.each([], sync_repo) == []
"""

FAILING = """
async def one(nango, n):
    await nango.get(endpoint=f"/item/{n}")
    if n in (3, 5) and (await nango.get_metadata()).get("fail"):
        raise ValueError(f"bad {n}")
    return n * n

async def fetch_data(nango):
    squares = await nango.each(range(8), one, concurrency=4)
    records = [{"id": str(n), "title": str(square)} for n, square in enumerate(squares)]
    await nango.batch_save(records, "Issue")
"""


class Items:
    """An API that answers `/item/<n>`, several at once, and counts; may be held back."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("").rstrip("/")
        self.served: list[int] = []
        self.at_once = self.most_at_once = 0
        self.hold: threading.Event | None = None
        self._lock = threading.Lock()
        server.expect_request(re.compile("/item/.*")).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        with self._lock:
            self.served.append(int(request.path.rsplit("/", 1)[1]))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if self.hold is not None:
            self.hold.wait(60)
        with self._lock:
            self.at_once -= 1
        return Response("{}", content_type="application/json")


@pytest.fixture
def items() -> Iterator[Items]:
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield Items(server)


async def assert_replays(stack: Stack, *ids: str) -> None:
    """Replay workflows, as a worker does that takes them over."""
    replayer = replayer_of(stack.container)
    for workflow_id in ids:
        handle = stack.container.temporal.get_workflow_handle(workflow_id)
        await replayer.replay_workflow(await handle.fetch_history())


async def failure_of(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return describe_failure(caught.value)


async def test_items_run_in_executions_of_their_own_and_belong_to_one_run(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(TYPED))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 12
    run = await stack.run(handle)
    assert run.counts["Issue"]["added"] == 12
    lines = [line.message for line in await stack.container.database.runs.logs(run.id)]
    assert sorted(lines) == sorted(
        [f"at r{n} 1" for n in range(12)] + [" ".join(f"R{n}" for n in range(12)) + " 2003"]
    )
    client = stack.container.temporal
    child = client.get_workflow_handle(f"each/{run.id}/1/4")
    description = await child.describe()
    assert description.parent_id == handle.id
    assert await description.static_summary() == "sync_repo r3 · 4 of 12 · issues for acme"
    await assert_replays(stack, handle.id, child.id)


async def test_no_more_items_than_asked_for_are_worked_on_at_a_time(
    stack: Stack, items: Items
) -> None:
    script = FAILING.replace("concurrency=4", "concurrency=2")
    items.hold = threading.Event()
    await stack.deploy(project(script))
    connection = await stack.connect(items.url)

    handle = await stack.start_sync(connection)
    async with asyncio.timeout(30):
        while items.at_once < 2:
            await asyncio.sleep(0.05)
    items.hold.set()
    await handle.result()

    assert items.most_at_once == 2
    assert sorted(items.served) == list(range(8))
    squares = sorted((r["id"], r["title"]) for r in await stack.records(connection))
    assert squares == [(str(n), str(n * n)) for n in range(8)]


async def test_failing_items_do_not_stop_the_others_and_the_first_is_named(
    stack: Stack, items: Items
) -> None:
    await stack.deploy(project(FAILING))

    handle = await stack.start_sync(await stack.connect(items.url, metadata={"fail": True}))
    error = await failure_of(handle)

    assert sorted(items.served) == list(range(8))
    assert error["type"] == "script_internal_error"
    assert "items[3] of 8: tracker/syncs/issues.py:5: ValueError: bad 3" in error["message"]
    assert "1 more items failed" in error["message"]
    assert (error["file"], error["line"]) == ("tracker/syncs/issues.py", 5)
    assert error["failed_items"] == [3, 5]
    run = await stack.run(handle)
    assert (run.status, run.counts) == (RunStatus.FAILED, {})
    await assert_replays(stack, handle.id, f"each/{run.id}/1/4")


async def test_script_may_catch_failed_items(stack: Stack, items: Items) -> None:
    script = """
    from perdure import EachError

    async def one(nango, n):
        return 1 / n

    async def fetch_data(nango):
        try:
            await nango.each([1, 0, 2, 0], one)
        except EachError as error:
            text = f"{error.failed} {error.code} {error.error['type']}"
            await nango.batch_save([{"id": "1", "title": text}], "Issue")
    """
    await stack.deploy(project(script))
    connection = await stack.connect(items.url)

    await stack.run_sync(connection)

    (record,) = await stack.records(connection)
    assert record["title"] == "(1, 3) script_internal_error script_internal_error"


async def test_retried_run_repeats_only_the_items_that_failed(stack: Stack, items: Items) -> None:
    await stack.deploy(project(FAILING))
    connection = await stack.connect(items.url, metadata={"fail": True})
    handle = await stack.start_sync(connection)
    await failure_of(handle)
    await stack.connect(items.url, metadata={"fail": False})
    items.served.clear()

    client = stack.container.temporal
    await client.execute_workflow(
        WorkflowType.RETRY,
        RetryInput(environment_id=stack.environment.id, run_id=handle.result_run_id or ""),
        id=f"retry/{handle.id}",
        task_queue=TaskQueue.ACTIONS,
    )
    await client.get_workflow_handle(handle.id).result()

    assert sorted(items.served) == [3, 5]
    squares = sorted((r["id"], r["title"]) for r in await stack.records(connection))
    assert squares == [(str(n), str(n * n)) for n in range(8)]
    await assert_replays(stack, handle.id)


@pytest.mark.timeout(120)
async def test_cancelling_the_run_cancels_its_items_within_seconds(
    stack: Stack, items: Items
) -> None:
    items.hold = threading.Event()
    script = FAILING.replace("await nango.get(", "await stubborn(nango, ") + (
        "\nasync def stubborn(nango, endpoint):\n"
        "    while True:\n"
        "        try:\n"
        "            await nango.get(endpoint=endpoint)\n"
        "        except Exception as error:\n"
        "            await nango.log('ignored', repr(error))\n"
    )
    await stack.deploy(project(script))
    handle = await stack.start_sync(await stack.connect(items.url))
    async with asyncio.timeout(30):
        while items.at_once < 4:
            await asyncio.sleep(0.05)

    await handle.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    items.hold.set()

    assert (await stack.run(handle)).status is RunStatus.CANCELLED
    assert len(items.served) == 4
    client = stack.container.temporal
    for n in range(1, 5):
        child = await client.get_workflow_handle(f"each/{handle.result_run_id}/1/{n}").describe()
        assert child.status is not None
        assert child.status.name == "CANCELED"
    await assert_replays(stack, handle.id, f"each/{handle.result_run_id}/1/1")


@pytest.mark.parametrize("fails", [False, True])
async def test_many_items_go_through_workflows_in_between(
    stack: Stack, source: Source, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    script = """
    async def one(nango, n):
        if n in (4, 7) and (await nango.get_metadata()).get("fail"):
            raise ValueError(f"bad {n}")
        await nango.batch_save([{"id": str(n), "title": "t"}], "Issue")
        return n * n

    async def fetch_data(nango):
        squares = await nango.each(range(10), one, concurrency=5)
        assert squares == [n * n for n in range(10)], squares
    """
    monkeypatch.setattr(each, "_BATCH_ITEMS", 3)
    await stack.deploy(project(script))
    connection = await stack.connect(source.url, metadata={"fail": fails})
    client = stack.container.temporal

    handle = await stack.start_sync(connection)
    if fails:
        error = await failure_of(handle)
        assert "items[4] of 10: tracker/syncs/issues.py:4: ValueError: bad 4" in error["message"]
        assert error["failed_items"] == [4, 7]
        await stack.connect(source.url, metadata={"fail": False})
        await client.execute_workflow(
            WorkflowType.RETRY,
            RetryInput(environment_id=stack.environment.id, run_id=handle.result_run_id or ""),
            id=f"retry/{handle.id}",
            task_queue=TaskQueue.ACTIONS,
        )
    await client.get_workflow_handle(handle.id).result()

    assert (await stack.run(handle)).counts["Issue"]["added"] == 10
    events = (await client.get_workflow_handle(handle.id).fetch_history()).events
    asked = [
        e.start_child_workflow_execution_initiated_event_attributes.workflow_id
        for e in events
        if e.HasField("start_child_workflow_execution_initiated_event_attributes")
    ]
    prefix = f"each/{handle.result_run_id}/1/"
    assert {*asked} == {f"{prefix}{name}" for name in ("1-3", "4-6", "7-9", "10-10")}
    await assert_replays(stack, handle.id, f"{prefix}4-6")


@pytest.mark.parametrize(
    ("call", "code", "named"),
    [
        ("nango.each([1], lambda nango, n: n)", "invalid_step", "nango.each needs"),
        ("nango.each([1], plain)", "invalid_step", "`async def`"),
        ("nango.each([1], alone)", "invalid_step", "it has to take these two"),
        ("nango.each([1], one, concurrency=0)", "invalid_options", "between 1 and 500"),
        ("nango.each([1, object()], one)", "invalid_item", "items[1]"),
        ("nango.each([1], large)", "result_too_large", "items[0] of 1"),
    ],
)
async def test_wrong_calls_are_refused(
    stack: Stack, source: Source, call: str, code: str, named: str
) -> None:
    script = f"""
async def one(nango, n):
    return n

async def alone(nango):
    return 1

async def large(nango, n):
    return "x" * 70_000

def plain(nango, n):
    return n

async def fetch_data(nango):
    await {call}
"""
    await stack.deploy(project(script))

    error = await failure_of(await stack.start_sync(await stack.connect(source.url)))

    assert error["type"] == code
    assert named in error["message"]


async def test_secret_of_an_item_stays_encrypted_and_masked(stack: Stack, source: Source) -> None:
    script = """
    async def one(nango, item):
        await nango.log("with", item["key"])
        return "returned " + item["key"]

    async def fetch_data(nango):
        key = (await nango.get_connection())["credentials"]["apiKey"]
        (text,) = await nango.each([{"name": key, "key": key}], one)
        await nango.log(text)
    """
    await stack.deploy(project(script))

    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    child = stack.container.temporal.get_workflow_handle(f"each/{handle.result_run_id}/1/1")
    for own in (handle, child):
        raw = b"".join(e.SerializeToString() for e in (await own.fetch_history()).events)
        assert b"key-of-acme" not in raw
    assert "key-of-acme" not in str(await (await child.describe()).static_summary())
    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert [line.message for line in lines] == ["with ***", "returned ***"]


async def test_items_may_have_items_and_actions_too(stack: Stack, source: Source) -> None:
    action = """
    async def leaf(nango, n: int) -> int:
        return n + 1

    async def branch(nango, n: int) -> int:
        return sum(await nango.each([n, n], leaf))

    async def run_action(nango, input):
        first = await nango.each([1, 10], branch)
        return [first, await nango.each([100], branch)]
    """
    await stack.deploy(project(action=action))

    handle = await stack.start_action(await stack.connect(source.url), None)

    assert (await handle.result())["output"] == [[4, 22], [202]]
