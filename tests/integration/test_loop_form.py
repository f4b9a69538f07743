"""Pages that are fetched ahead of a script, and records that are written behind it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle
from werkzeug import Request, Response

from perdure.app.registrations import replayer_of
from perdure.db.record_writes import take_turn
from perdure.db.runs import RunStatus
from perdure.temporal.bulk import decoded
from perdure.temporal.failures import leaf_failure
from tests.integration.test_cancel import until_step
from tests.support.project import PAGINATED, project
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


def script(body: str, before: str = "") -> str:
    return f"{before}\nimport asyncio\n\nasync def fetch_data(nango):\n{PAGES}\n{body}"


async def run(stack: Stack, source: Source, text: str) -> tuple[WorkflowHandle[Any, Any], Any]:
    """Run a script to its end; returns its handle and the failure, None where there is none."""
    await stack.deploy(project(text))
    connections = await stack.container.database.connections.list(stack.environment.id)
    connection = connections[0] if connections else await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    try:
        await handle.result()
    except WorkflowFailureError as error:
        return handle, leaf_failure(error)
    return handle, None


async def steps(handle: WorkflowHandle[Any, Any]) -> Counter[str]:
    """Return how often each step was asked for."""
    return Counter(
        [
            event.activity_task_scheduled_event_attributes.activity_type.name
            async for event in handle.fetch_history_events()
            if event.HasField("activity_task_scheduled_event_attributes")
        ]
    )


async def saved(stack: Stack) -> set[str]:
    (connection,) = await stack.container.database.connections.list(stack.environment.id)
    return {record["id"] for record in await stack.records(connection)}


async def test_a_loop_costs_few_steps_and_saves_everything(stack: Stack, source: Source) -> None:
    source.records = issues(10_000)

    handle, failure = await run(stack, source, PAGINATED)

    assert failure is None
    assert source.served == Counter(range(1, 101))
    taken = await steps(handle)
    assert taken["fetch_pages"] < 25
    assert taken["batch_save"] < 25
    assert (await stack.run(handle)).counts["Issue"]["added"] == 10_000
    assert (await handle.describe()).history_length < 250


async def test_pages_are_not_decoded_again_where_they_were_fetched_by_the_same_worker(
    stack: Stack, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Smaller pages stay in the history, and are cheap to decode.
    source.records = [{**issue, "body": "x" * 200} for issue in issues(2_000)]
    again: list[bytes] = []

    def decode(data: bytes, **how: Any) -> Any:
        again.append(data)
        return decoded(data, **how)

    monkeypatch.setattr("activities.page_slices.decoded", decode)
    handle, failure = await run(stack, source, PAGINATED)
    assert failure is None
    assert not again

    # Whoever has not fetched them decodes them, and finds the same.
    history = await handle.fetch_history()
    await replayer_of(stack.container).replay_workflow(history)
    assert len(again) == 20


async def test_a_script_that_takes_one_page_has_caused_one_request(
    stack: Stack, source: Source
) -> None:
    source.records = issues(2_000)

    _, failure = await run(stack, source, script("    async for page in pages:\n        break"))

    assert failure is None
    assert source.served == Counter([1])


async def test_a_script_that_stops_has_caused_no_more_than_the_slice_ahead(
    stack: Stack, source: Source
) -> None:
    source.records = issues(20_000)
    body = """
    async for page in pages:
        if page[0]["id"] == "201":
            break
    await nango.get(endpoint="/issues")
"""

    _, failure = await run(stack, source, script(body))

    assert failure is None
    assert max(source.served) <= 1 + 2 + 4


async def test_a_page_that_fails_is_met_when_the_script_comes_to_it(
    stack: Stack, source: Source
) -> None:
    source.records = issues(1_000)
    source.before = lambda page: Response("no", 403) if page == 6 else None
    body = """
    seen = 0
    try:
        async for page in pages:
            seen += 1
            await nango.batch_save([{"id": i["id"], "title": "t"} for i in page], "Issue")
    except Exception as error:
        await nango.log("after", seen, error.status)
"""

    handle, failure = await run(stack, source, script(body))

    assert failure is None
    assert len(await saved(stack)) == 500
    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert [line.message for line in lines] == ["after 5 403"]


async def test_a_transient_failure_loses_no_page(stack: Stack, source: Source) -> None:
    source.records = issues(1_000)
    refused = threading.Event()

    def once(page: int) -> Response | None:
        if page != 4 or refused.is_set():
            return None
        refused.set()
        return Response("busy", 503, headers={"Retry-After": "0"})

    source.before = once

    _, failure = await run(stack, source, PAGINATED)

    assert failure is None
    assert source.served == Counter(range(1, 11))
    assert len(await saved(stack)) == 1_000


async def test_what_was_saved_before_the_script_failed_is_there(
    stack: Stack, source: Source
) -> None:
    body = """
    await nango.batch_save([{"id": "1", "title": "t"}], "Issue")
    raise ValueError("later")
"""

    handle, failure = await run(stack, source, script(body))

    assert failure.message.endswith("ValueError: later")
    assert await saved(stack) == {"1"}
    assert (await stack.run(handle)).counts["Issue"]["added"] == 1


async def test_what_was_saved_before_the_run_was_cancelled_is_there(
    stack: Stack, source: Source
) -> None:
    arrived = threading.Event()
    source.before = lambda _: arrived.wait(30) and None
    body = """
    await nango.batch_save([{"id": "1", "title": "t"}], "Issue")
    await nango.get(endpoint="/issues")
"""
    await stack.deploy(project(script(body)))
    handle = await stack.start_sync(await stack.connect(source.url))
    await until_step(handle, "proxy")

    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    arrived.set()

    assert await saved(stack) == {"1"}
    assert (await stack.run(handle)).status is RunStatus.CANCELLED


async def test_a_read_sees_what_was_saved_before_it(stack: Stack, source: Source) -> None:
    body = """
    for n in range(1, 4):
        await nango.batch_save([{"id": str(n), "title": "t"}], "Issue")
        found = await nango.get_records_by_ids([str(n)], "Issue")
        assert found[str(n)]["title"] == "t"
    await nango.batch_delete([{"id": "1"}], "Issue")
    left = [r async for r in nango.list_records("Issue")]
    assert [r["id"] for r in left if not r["_nango_metadata"]["deleted_at"]] == ["2", "3"]
"""

    _, failure = await run(stack, source, script(body))

    assert failure is None


async def test_a_provider_is_told_only_of_what_is_saved(
    stack: Stack, source: Source, httpserver: HTTPServer
) -> None:
    body = """
    await nango.batch_save([{"id": "1", "title": "t"}], "Issue")
    await nango.post(endpoint="/done")
"""
    httpserver.expect_request("/done").respond_with_json({})

    handle, failure = await run(stack, source, script(body))

    assert failure is None
    asked: dict[int, str] = {}
    order: list[str] = []
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            asked[event.event_id] = name
            order.append(f"ask for {name}")
        elif event.HasField("activity_task_completed_event_attributes"):
            ended = event.activity_task_completed_event_attributes.scheduled_event_id
            order.append(f"{asked[ended]} is done")
    assert order.index("batch_save is done") < order.index("ask for proxy")


DEEP = """
def deep():
    value = {}
    for _ in range(220):
        value = {"a": value}
    return value
"""


async def test_records_that_cannot_be_written_fail_the_run_that_catches_nothing(
    stack: Stack, source: Source
) -> None:
    await stack.validation("off")
    body = """
    await nango.batch_update([{"id": "1", "title": deep()}], "Issue")
"""

    handle, failure = await run(stack, source, script(body, DEEP))

    assert failure.type == "invalid_record"
    assert (await stack.run(handle)).status is RunStatus.FAILED
    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert "update: 1 records of Issue could not be written" in lines[-1].message


async def test_the_next_call_says_that_records_could_not_be_written_and_catching_it_is_no_help(
    stack: Stack, source: Source
) -> None:
    await stack.validation("off")
    body = """
    await nango.batch_update([{"id": "1", "title": deep()}], "Issue")
    try:
        await nango.get_records_by_ids(["1"], "Issue")
    except Exception as error:
        await nango.log("told", error.code)
    try:
        await nango.batch_save([{"id": "2", "title": "t"}], "Issue")
    except Exception as error:
        await nango.log("told again", error.code)
"""

    handle, failure = await run(stack, source, script(body, DEEP))

    assert failure.type == "invalid_record"
    assert await saved(stack) == set()
    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert [line.message for line in lines][1:] == [
        "told invalid_record",
        "told again invalid_record",
    ]


async def test_a_record_that_is_saved_twice_is_changed_twice(stack: Stack, source: Source) -> None:
    body = """
    for title in ("a", "b", "c"):
        await nango.batch_save([{"id": "1", "title": title}], "Issue")
    await nango.batch_delete([{"id": "1"}], "Issue")
    await nango.batch_save([{"id": "1", "title": "d"}, {"id": "1", "title": "e"}], "Issue")
"""

    handle, failure = await run(stack, source, script(body))

    assert failure is None
    (connection,) = await stack.container.database.connections.list(stack.environment.id)
    (record,) = await stack.records(connection)
    assert record["title"] == "d", "of the same id the first in a call counts"
    counts = (await stack.run(handle)).counts["Issue"]
    assert counts == {"added": 2, "updated": 2, "deleted": 1, "unchanged": 0}


async def test_saves_side_by_side_keep_their_order(stack: Stack, source: Source) -> None:
    body = """
    await asyncio.gather(
        *(nango.batch_save([{"id": str(n), "title": "t"}], "Issue") for n in range(1, 51)),
        nango.batch_save([{"id": "51", "title": "last"}], "Issue"),
    )
"""

    handle, failure = await run(stack, source, script(body))

    assert failure is None
    (connection,) = await stack.container.database.connections.list(stack.environment.id)
    found = [record["id"] for record in await stack.records(connection)]
    assert found == [str(n) for n in range(1, 52)]
    assert (await steps(handle))["batch_save"] == 1


async def test_what_a_script_changes_after_it_was_saved_is_saved_as_it_was(
    stack: Stack, source: Source
) -> None:
    body = """
    record = {"id": "1", "title": "before"}
    await nango.batch_save([record], "Issue")
    record["title"] = "after"
"""

    await run(stack, source, script(body))

    (connection,) = await stack.container.database.connections.list(stack.environment.id)
    (record,) = await stack.records(connection)
    assert record["title"] == "before"


async def test_what_is_changed_while_a_warning_is_written_is_saved_as_it_was(
    stack: Stack, source: Source
) -> None:
    await stack.validation("warn")
    body = """
    record = {"id": "1", "title": 5}

    async def change():
        record["title"] = "after"

    side = asyncio.create_task(change())
    await nango.batch_save([record], "Issue")
    await side
"""

    await run(stack, source, script(body))

    (connection,) = await stack.container.database.connections.list(stack.environment.id)
    (record,) = await stack.records(connection)
    assert record["title"] == 5


async def test_on_page_hears_of_every_page_in_its_turn(stack: Stack, source: Source) -> None:
    source.records = issues(700)
    text = script(
        """
    heard = []
    async def note(state):
        heard.append(state["next_page_param"])
    options = {
        "type": "cursor",
        "cursor_name_in_request": "cursor",
        "cursor_path_in_response": "next",
        "response_path": "items",
        "on_page": note,
    }
    async for page in nango.paginate(endpoint="/issues", paginate=options):
        assert len(heard) == int(page[0]["id"]) // 100, heard
    await nango.log(*heard)
"""
    )

    handle, failure = await run(stack, source, text)

    assert failure is None
    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert lines[0].message == "2 3 4 5 6 7 null"


async def test_a_slow_script_is_not_given_more_than_it_works_through_in_a_moment(
    stack: Stack, source: Source
) -> None:
    source.records = issues(1_200)
    body = """
    async for page in pages:
        for _ in range(3_000_000):
            pass
        await nango.batch_save([{"id": i["id"], "title": "t"} for i in page], "Issue")
"""

    _, failure = await run(stack, source, script(body))

    assert failure is None, "no workflow task took too long"
    assert len(await saved(stack)) == 1_200


HELD_UP = """
    await nango.batch_save([{"id": "1", "title": "t"}], "Issue")
    await nango.get(endpoint="/first")
    await nango.batch_save([{"id": "2", "title": "t"}], "Issue")
    await nango.get(endpoint="/second")
"""


async def test_what_was_saved_before_the_time_was_over_is_there(
    stack: Stack, source: Source, httpserver: HTTPServer
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(_: Request) -> Response:
        asked.set()
        release.wait(30)
        return Response("{}")

    httpserver.expect_request("/first").respond_with_json({})
    httpserver.expect_request("/second").respond_with_handler(hang)
    files = project(script(HELD_UP))
    limited = "sync_type: full\n        run_timeout: 10s"
    files["nango.yaml"] = files["nango.yaml"].replace("sync_type: full", limited)
    await stack.deploy(files)
    connection = await stack.connect(source.url)

    async with stack.container.database.transaction() as conn:
        # The first batch waits for its turn, and the second one for the first.
        await take_turn(conn, stack.record_set(connection))
        handle = await stack.start_sync(connection)
        assert await asyncio.to_thread(asked.wait, 20)
        await until_event(handle, EventType.EVENT_TYPE_TIMER_FIRED)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    release.set()

    assert leaf_failure(caught.value).type == "run_timeout"
    assert await saved(stack) == {"1", "2"}
    run = await stack.run(handle)
    assert (run.status, run.error["type"]) == (RunStatus.TIMEOUT, "run_timeout")
    assert run.counts["Issue"]["added"] == 2
    await replayer_of(stack.container).replay_workflow(await handle.fetch_history())


async def until_event(handle: WorkflowHandle[Any, Any], kind: EventType.ValueType) -> None:
    """Wait for an event of a kind."""
    async with asyncio.timeout(20):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == kind:
                return


async def test_pages_that_turn_out_dear_do_not_block_the_workflow(
    stack: Stack, source: Source
) -> None:
    source.records = issues(9_000)
    body = """
    n = 0
    async for page in pages:
        n += 1
        # By then dozens of pages are handed over at a time. Each takes a little of the 0.8 s after
        # which there is a pause: a replay, which may be slower, has two for what came before it.
        for _ in range(2_000_000 if n > 63 else 0):
            pass
        await nango.batch_save([{"id": i["id"], "title": "t"} for i in page], "Issue")
"""

    handle, failure = await run(stack, source, script(body))

    assert failure is None, "no workflow task took too long"
    assert len(await saved(stack)) == 9_000
    history = await handle.fetch_history()
    kinds = [event.event_type for event in history.events]
    assert EventType.EVENT_TYPE_TIMER_FIRED in kinds
    await replayer_of(stack.container).replay_workflow(history)


async def test_a_page_that_is_refused_is_asked_for_again_when_the_provider_says(
    stack: Stack, source: Source
) -> None:
    source.records = issues(1_000)
    asked: list[float] = []

    def limited(page: int) -> Response | None:
        if page != 5:
            return None
        asked.append(time.monotonic())
        over = time.monotonic() - asked[0] > 1.5
        return None if over else Response("slow down", 429, headers={"Retry-After": "2"})

    source.before = limited

    _, failure = await run(stack, source, PAGINATED)

    assert failure is None
    assert len(await saved(stack)) == 1_000
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 2
