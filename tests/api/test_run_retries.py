"""A run that failed goes on at the step that failed, with its own bundle or a newer one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from werkzeug import Request, Response

from perdure.db.connections import Connection
from perdure.db.runs import RunStatus
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.support.project import project
from tests.support.source import Source, issues
from tests.support.stack import Stack

PAGINATE = """
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
"""

# Fails on what the second page holds; the newer script knows what to do with it.
FRAIL = f"""
from shared import title_of

async def fetch_data(nango):
    await nango.log("begun")
    async for page in nango.paginate({PAGINATE}):
        await nango.log("page of", len(page))
        rows = [{{"id": i["id"], "title": title_of(i)}} for i in page]
        await nango.batch_save(rows, "Issue")
"""
BREAKS = """
def title_of(issue):
    if issue["id"] == "150":
        raise ValueError("no title in 150")
    return issue["title"]
"""
MENDED = """
def title_of(issue):
    return issue["title"]
"""


def files(shared: str, sync: str = FRAIL, **others: Any) -> dict[str, str]:
    return {**project(sync, **others), "shared.py": shared}


async def failed(handle: WorkflowHandle[Any, Any]) -> None:
    with pytest.raises(WorkflowFailureError):
        await handle.result()


async def ended(stack: Stack, handle: WorkflowHandle[Any, Any]) -> Any:
    """Wait for the last execution of a run, and return the run."""
    client = stack.container.temporal
    with contextlib.suppress(WorkflowFailureError):
        await client.get_workflow_handle(handle.id).result()
    return await stack.run(handle)


async def retry(api: httpx.AsyncClient, run_id: str, bundle: str = "own") -> httpx.Response:
    return await api.post(f"/runs/{run_id}/retry", json={"bundle": bundle}, timeout=60)


async def test_run_goes_on_at_the_page_that_was_refused(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    source.before = lambda page: Response("no", status=403) if page == 3 else None
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await failed(handle)
    assert len(await stack.records(connection)) == 200

    source.before = lambda _: None
    answer = await retry(live, handle.result_run_id or "")
    assert answer.status_code == 200, answer.text
    run = await ended(stack, handle)

    assert (run.status, run.error) == (RunStatus.SUCCESS, None)
    assert source.served == {1: 1, 2: 1, 3: 1}, "only the page that failed was fetched again"
    assert len(await stack.records(connection)) == 250
    assert run.counts["Issue"]["added"] == 250
    logs = [line.message for line in await stack.container.database.runs.logs(run.id)]
    assert any(line.startswith("retried at the step where it ended: ") for line in logs)


TELLS = f"""
async def fetch_data(nango):
    async for page in nango.paginate({PAGINATE}):
        await nango.post(endpoint="/note", data={{"from": page[0]["id"]}})
"""


async def test_what_was_written_before_a_page_was_missed_is_not_written_again(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    noted: list[str] = []

    def note(request: Request) -> Response:
        noted.append(request.get_json()["from"])
        return Response("{}", content_type="application/json")

    source.server.expect_request("/note", method="POST").respond_with_handler(note)
    source.records = issues(600)
    source.before = lambda page: Response("no", status=403) if page >= 5 else None
    await stack.deploy(project(TELLS))
    handle = await stack.start_sync(await stack.connect(source.url))
    await failed(handle)
    assert noted == ["1", "101", "201", "301"]

    source.before = lambda _: None
    answer = await retry(live, handle.result_run_id or "")
    assert answer.status_code == 200, answer.text
    run = await ended(stack, handle)

    assert (run.status, run.error) == (RunStatus.SUCCESS, None)
    assert noted == ["1", "101", "201", "301", "401", "501"]


async def test_run_goes_on_with_the_mended_script(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    await stack.deploy(files(BREAKS))
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await failed(handle)
    newer = await stack.deploy(files(MENDED))

    answer = await retry(live, handle.result_run_id or "", "active")
    assert answer.status_code == 200, answer.text
    run = await ended(stack, handle)

    assert run.status is RunStatus.SUCCESS, run.error
    assert run.bundle_hash == newer
    assert source.served == {1: 1, 2: 1, 3: 1}, "the page that broke the script was at hand"
    assert len(await stack.records(connection)) == 250
    lines = [line.message for line in await stack.container.database.runs.logs(run.id)]
    assert lines.count("begun") == 1
    assert lines.count("page of 50") == 1, lines


async def test_script_that_did_other_steps_so_far_does_not_fit(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    await stack.deploy(files(BREAKS))
    handle = await stack.start_sync(await stack.connect(source.url))
    await failed(handle)
    other = FRAIL.replace('await nango.log("begun")', "await nango.get_metadata()")
    await stack.deploy(files(MENDED, other))

    answer = await retry(live, handle.result_run_id or "", "active")

    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "bundle_does_not_fit"
    run = await stack.run(handle)
    assert run.status is RunStatus.FAILED
    again = await retry(live, handle.result_run_id or "")
    assert again.status_code == 200, "its own bundle still fits"
    assert (await ended(stack, handle)).error["message"].endswith("no title in 150")


async def test_run_that_fails_again_can_be_retried_again(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    source.before = lambda page: Response("no", status=403) if page == 2 else None
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await failed(handle)
    for expected in (RunStatus.FAILED, RunStatus.SUCCESS):
        if expected is RunStatus.SUCCESS:
            source.before = lambda _: None
        assert (await retry(live, handle.result_run_id or "")).status_code == 200
        assert (await ended(stack, handle)).status is expected
    assert len(await stack.records(connection)) == 250


async def test_cancelled_run_can_go_on(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    hold = asyncio.Event()
    source.before = lambda page: (
        Response("later", status=503) if page == 2 and not hold.is_set() else None
    )
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    async with asyncio.timeout(20):
        while source.served[1] == 0:
            await asyncio.sleep(0.05)
    await handle.cancel()
    await failed(handle)
    hold.set()

    answer = await retry(live, handle.result_run_id or "")
    assert answer.status_code == 200, answer.text

    assert (await ended(stack, handle)).status is RunStatus.SUCCESS
    assert len(await stack.records(connection)) == 250


async def test_scheduled_run_leaves_the_field_to_a_retried_one(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    source.before = lambda _: Response("no", status=403)
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await failed(handle)
    source.before = lambda _: Response("later", status=503)
    assert (await retry(live, handle.result_run_id or "")).status_code == 200

    skipped = await stack.run_sync(connection)
    assert skipped.skipped == f"the run {handle.result_run_id} of the sync is under way"

    source.before = lambda _: None
    assert (await ended(stack, handle)).status is RunStatus.SUCCESS


@pytest.mark.parametrize("later", ["success", "failed"])
async def test_run_with_a_later_one_is_not_retried(
    stack: Stack, source: Source, live: httpx.AsyncClient, later: str
) -> None:
    source.before = lambda _: Response("no", status=403)
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await failed(handle)
    if later == "success":
        source.before = lambda _: None
        await stack.run_sync(connection)
    else:
        await failed(await stack.start_sync(connection))

    answer = await retry(live, handle.result_run_id or "")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_superseded")


async def test_run_whose_workflow_id_a_later_one_has_is_told_apart(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    source.before = lambda _: Response("no", status=403)
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    # As two runs have it that a schedule starts within one second.
    name = f"sync/{stack.environment.name}/{uuid.uuid4()}"
    first = await started_as(stack, connection, name)
    await failed(first)
    source.before = lambda _: None
    second = await started_as(stack, connection, name)
    await second.result()

    refused = await retry(live, first.result_run_id or "")
    again = await retry(live, second.result_run_id or "")

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "run_superseded")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "run_succeeded")


async def started_as(
    stack: Stack, connection: Connection, workflow_id: str, **options: Any
) -> WorkflowHandle[Any, Any]:
    """Start one run of a sync under this workflow id."""
    return await stack.container.temporal.start_workflow(
        WorkflowType.SYNC,
        stack.sync_input(connection),
        id=workflow_id,
        task_queue=TaskQueue.SYNCS,
        **options,
    )


async def test_sync_whose_time_was_over_has_all_of_it_again(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    release = threading.Event()

    def hang(page: int) -> None:
        if page == 2:
            release.wait(20)

    source.before = hang
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    handle = await started_as(
        stack, connection, f"sync/{uuid.uuid4()}", execution_timeout=timedelta(seconds=10)
    )
    await failed(handle)
    shown = (await live.get(f"/runs/{handle.result_run_id}")).json()
    assert shown["status"] == "timeout"
    release.set()

    answer = await retry(live, handle.result_run_id or "")
    assert answer.status_code == 200, answer.text

    assert (await ended(stack, handle)).status is RunStatus.SUCCESS
    assert len(await stack.records(connection)) == 250


async def test_run_that_succeeded_is_not_retried(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    await stack.deploy(project())
    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    answer = await retry(live, handle.result_run_id or "")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_succeeded")


async def test_run_of_another_environment_is_unknown(
    stack: Stack, source: Source, api: httpx.AsyncClient
) -> None:
    await stack.deploy(project())
    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    answer = await retry(api, handle.result_run_id or "")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_run")


ORDER = """
from shared import check

async def run_action(nango, input):
    first = await nango.get(endpoint="/issues")
    check(input)
    return {"issues": len(first.data["items"])}
"""


async def test_failed_action_goes_on_with_the_mended_script(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    await stack.deploy({**project(action=ORDER), "shared.py": "def check(i):\n    1 / 0\n"})
    connection = await stack.connect(source.url)
    headers = {"Connection-Id": connection.connection_id, "Provider-Config-Key": "tracker"}
    answer = await live.post(
        "/action/trigger", json={"action_name": "echo", "input": {}}, headers=headers
    )
    assert answer.status_code == 500
    [run] = (await live.get("/runs", params={"kind": "action"})).json()["runs"]
    await stack.deploy({**project(action=ORDER), "shared.py": "def check(i):\n    pass\n"})

    assert (await retry(live, run["id"], "active")).status_code == 200
    handle = stack.container.temporal.get_workflow_handle(run["workflow_id"])
    assert (await handle.result())["output"] == {"issues": 100}

    shown = (await live.get(f"/runs/{run['id']}")).json()
    assert shown["status"] == "success"
    assert source.served == {1: 1}


TRIGGERS = """
async def fetch_data(nango):
    for name in ("one", "two"):
        output = await nango.trigger_action("echo", {"text": name})
        await nango.batch_save([{"id": name, "title": output["text"]}], "Issue")
"""
ASKS = """
async def run_action(nango, input):
    await nango.get(f"/{input['text']}")
    return input
"""


async def test_action_that_failed_is_triggered_anew_and_no_other(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    asked: list[str] = []

    def answer(request: Request) -> Response:
        asked.append(request.path)
        refused = request.path == "/two" and len(asked) < 3
        return Response("{}", 410 if refused else 200, content_type="application/json")

    source.server.expect_request("/one").respond_with_handler(answer)
    source.server.expect_request("/two").respond_with_handler(answer)
    await stack.deploy(project(TRIGGERS, ASKS))
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await failed(handle)

    answer_to_retry = await retry(live, handle.result_run_id or "")
    assert answer_to_retry.status_code == 200, answer_to_retry.text
    run = await ended(stack, handle)

    assert (run.status, run.error) == (RunStatus.SUCCESS, None)
    assert asked == ["/one", "/two", "/two"]
    assert {r["id"] for r in await stack.records(connection)} == {"one", "two"}


# Enough for what is left of the action to be done on a slow machine.
ACTION_LIMIT = 6
TWO_STEPS = """
async def run_action(nango, input):
    await nango.post(endpoint="/orders", data={})
    return len((await nango.get(endpoint="/issues")).data["items"])
"""


async def two_steps(stack: Stack, source: Source, **call: Any) -> WorkflowHandle[Any, Any]:
    """Start an action that may take `ACTION_LIMIT` seconds."""
    source.server.expect_request("/orders", method="POST").respond_with_json({})
    files = project(action=TWO_STEPS)
    limited = f"endpoint: POST /echo\n        run_timeout: {ACTION_LIMIT}s"
    files["nango.yaml"] = files["nango.yaml"].replace("endpoint: POST /echo", limited)
    await stack.deploy(files)
    return await stack.start_action(await stack.connect(source.url), {}, **call)


def orders_of(source: Source) -> int:
    return sum(request.path == "/orders" for request, _ in source.server.log)


async def test_action_whose_time_was_over_has_all_of_it_again(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    source.before = lambda _: Response("later", status=503)
    handle = await two_steps(stack, source, keeps_record=True)
    await failed(handle)
    assert (await stack.run(handle)).status is RunStatus.TIMEOUT

    # It is over again, and no sooner than it was.
    began = asyncio.get_running_loop().time()
    assert (await retry(live, handle.result_run_id or "")).status_code == 200
    assert (await ended(stack, handle)).status is RunStatus.TIMEOUT
    assert asyncio.get_running_loop().time() - began >= ACTION_LIMIT

    source.before = lambda _: None
    assert (await retry(live, handle.result_run_id or "")).status_code == 200
    run = await ended(stack, handle)

    assert (run.status, run.error) == (RunStatus.SUCCESS, None)
    client = stack.container.temporal
    assert (await client.get_workflow_handle(handle.id).result())["output"] == 100
    assert orders_of(source) == 1, "what was done stays done"


async def test_sync_that_ended_in_time_by_itself_has_all_of_it_again(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    source.before = lambda page: Response("later", status=503) if page == 2 else None
    made = project()
    limited = "sync_type: full\n        run_timeout: 8s"
    made["nango.yaml"] = made["nango.yaml"].replace("sync_type: full", limited)
    await stack.deploy(made)
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await failed(handle)
    assert (await stack.run(handle)).status is RunStatus.TIMEOUT
    assert len(await stack.records(connection)) == 100

    source.before = lambda _: None
    assert (await retry(live, handle.result_run_id or "")).status_code == 200
    run = await ended(stack, handle)

    assert (run.status, run.error) == (RunStatus.SUCCESS, None)
    assert run.counts["Issue"] == {"added": 250, "updated": 0, "deleted": 0, "unchanged": 0}
    assert source.served[1] == 1, "what was done stays done"


async def test_action_that_failed_long_ago_has_all_of_its_time_again(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    source.before = lambda _: Response("no", status=403)
    handle = await two_steps(stack, source, keeps_record=True)
    await failed(handle)
    await asyncio.sleep(ACTION_LIMIT)  # its time is over
    source.before = lambda _: None

    assert (await retry(live, handle.result_run_id or "")).status_code == 200

    assert (await ended(stack, handle)).status is RunStatus.SUCCESS
    assert orders_of(source) == 1


async def test_asynchronous_action_that_is_retried_takes_a_turn(
    stack: Stack, source: Source, live: httpx.AsyncClient
) -> None:
    database = stack.container.database
    await database.actions.set_limits(stack.environment.id, environment=1, connection=None)
    source.before = lambda _: Response("no", status=403)
    await stack.deploy(project(action=ASKS_FOR_ISSUES))
    connection = await stack.connect(source.url)
    handle = await stack.start_action(connection, {}, queued=True)
    await failed(handle)
    async with database.transaction() as conn:
        # As after an hour.
        await conn.execute("DELETE FROM action_queue WHERE workflow_id = $1", handle.id)
    source.before = lambda _: Response("later", status=503)

    assert (await retry(live, handle.result_run_id or "")).status_code == 200
    other = await stack.start_action(connection, {}, queued=True)
    async with asyncio.timeout(30):
        while not await database.action_queue.has_place(other.id):
            await asyncio.sleep(0.05)
    turns = [await database.action_queue.has_turn(h.id) for h in (handle, other)]
    source.before = lambda _: None

    assert turns == [True, False]
    assert (await ended(stack, handle)).status is RunStatus.SUCCESS
    async with asyncio.timeout(10):
        await other.result()


ASKS_FOR_ISSUES = """
async def run_action(nango, input):
    return len((await nango.get(endpoint="/issues")).data["items"])
"""
