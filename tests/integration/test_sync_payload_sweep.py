"""What syncs have fetched and saved is removed soon after they ended well; what they need stays."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowFailureError, WorkflowHandle

import activities.payload_sweep
from activities.retries import RetryInput
from api.app import create_app
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.api.calls import client_of, error_of
from tests.support.payloads import DAY, forget_cached, named, stored, sweep
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

# Its connection says how it goes on; what its step returns differs from run to run.
SYNC = """
import asyncio
import uuid

async def large(seed):
    return seed * 2_000

async def fetch_data(nango):
    text = await nango.run(large, str(uuid.uuid4()))
    while (mode := (await nango.get_metadata() or {}).get("mode")) == "waits":
        await asyncio.sleep(0.1)
    if mode == "asks":
        await nango.get(endpoint="/ready")
    await nango.batch_save([{"id": "1", "title": f"{len(text)} {text}"}], "Issue")
"""

ACTION = """
async def large(seed):
    return seed * 20_000

async def run_action(nango, input):
    return {"text": await nango.run(large, input)}
"""

ITEMS = """
import uuid

async def large(seed):
    return seed * 2_000

async def one(nango, item):
    text = await nango.run(large, str(uuid.uuid4()))
    if item == 2:
        await nango.get(endpoint="/ready")
    await nango.log("worked on", item)
    return text[:40_000]

async def fetch_data(nango):
    texts = await nango.each([1, 2], one)
    await nango.batch_save([{"id": "1", "title": str(sum(map(len, texts)))}], "Issue")
"""

# Later than what syncs leave is kept, and sooner than histories are gone.
LATER = 3 * DAY


async def fails(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait for the end of a run that fails."""
    with pytest.raises(WorkflowFailureError):
        await handle.result()


def is_not_ready(source: Source) -> None:
    source.server.expect_ordered_request("/ready").respond_with_data("no", status=404)


async def retried(stack: Stack, source: Source, handle: WorkflowHandle[Any, Any]) -> None:
    """Have a run go on, and end well."""
    source.server.expect_ordered_request("/ready").respond_with_json({})
    retry = RetryInput(environment_id=stack.environment.id, run_id=handle.result_run_id or "")
    await stack.container.temporal.execute_workflow(
        WorkflowType.RETRY, retry, id=f"retry/{uuid4()}", task_queue=TaskQueue.ACTIONS
    )
    await stack.container.temporal.get_workflow_handle(handle.id).result()


async def failures_of_tasks(handle: WorkflowHandle[Any, Any]) -> set[str]:
    """Return why the workflow's own code could not go on, as the Temporal UI shows it."""
    return {
        event.workflow_task_failed_event_attributes.failure.application_failure_info.type
        for event in (await handle.fetch_history()).events
    }


async def succeeded(stack: Stack, source: Source) -> WorkflowHandle[Any, Any]:
    """Have a sync end well, and its payloads removed."""
    await stack.deploy(project(SYNC))
    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()
    assert await sweep(stack, LATER) == len(await named(handle)) > 0
    forget_cached(stack)
    return handle


async def test_payloads_of_a_sync_go_once_it_has_ended_well_and_all_others_stay(
    apart: Stack, source: Source
) -> None:
    await apart.deploy(project(SYNC, ACTION))
    is_not_ready(source)
    runs = {}
    for mode in ("ends", "asks", "waits"):
        connection = await apart.connect(source.url, connection_id=mode, metadata={"mode": mode})
        runs[mode] = await apart.start_sync(connection)
    await runs["ends"].result()
    await fails(runs["asks"])
    action = await apart.start_action(connection, "x")
    await action.result()
    async with asyncio.timeout(30):
        while not await named(runs["waits"]):
            await asyncio.sleep(0.05)
    names = {mode: await named(handle) for mode, handle in runs.items()}
    assert len(names["ends"]) == 2, "what a step returned, and what was saved"
    names["action"] = await named(action)
    assert all(names.values())
    before = await stored(apart)

    assert await sweep(apart, DAY) == 0, "it has ended a day ago"
    assert await sweep(apart, LATER) == len(names["ends"])

    assert await stored(apart) == before - names["ends"]
    assert await sweep(apart, LATER + DAY) == 0
    forget_cached(apart)
    assert (await action.result())["output"] == {"text": "x" * 20_000}
    await apart.container.database.connections.set_metadata(
        apart.environment.id, "tracker", ["waits"], {}
    )
    await runs["waits"].result()
    await retried(apart, source, runs["asks"])


async def test_items_that_ended_well_are_not_done_again_long_after_another_failed(
    apart: Stack, source: Source
) -> None:
    await apart.deploy(project(ITEMS))
    is_not_ready(source)
    connection = await apart.connect(source.url)
    handle = await apart.start_sync(connection)
    await fails(handle)
    run = await apart.run(handle)
    client = apart.container.temporal
    well, not_well = (client.get_workflow_handle(f"each/{run.id}/1/{n}") for n in (1, 2))
    returned = await well.result()
    needed = await named(not_well) | await named(handle)
    worked_on = await named(well) - needed

    assert await sweep(apart, LATER) == len(worked_on) > 0

    assert needed <= await stored(apart)
    forget_cached(apart)
    assert await well.result() == returned, "what it gave to its run is there"
    await retried(apart, source, handle)
    logs = await apart.container.database.runs.logs(run.id)
    assert [line.message for line in logs if line.message.startswith("worked")] == [
        "worked on 1",
        "worked on 2",
    ]
    (record,) = await apart.records(connection)
    assert record["title"] == "80000"


async def test_where_many_failed_only_runs_that_may_be_retried_keep_theirs(
    apart: Stack, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities.payload_sweep, "_MOST_RUNS", 1)
    await apart.deploy(project(ITEMS))
    connection = await apart.connect(source.url)
    named_by_items = []
    for _ in range(2):
        is_not_ready(source)
        handle = await apart.start_sync(connection)
        await fails(handle)
        item = f"each/{handle.result_run_id}/1/2"
        named_by_items.append(await named(apart.container.temporal.get_workflow_handle(item)))
    earlier, last = named_by_items

    assert await sweep(apart, LATER) > 0

    assert last <= await stored(apart)
    assert not earlier & await stored(apart) - last


async def test_runs_are_looked_through_in_portions_and_nothing_goes_before_the_last_of_them(
    apart: Stack, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities.payload_sweep, "_PORTION", timedelta())
    monkeypatch.setattr(activities.payload_sweep, "_RUNS_AT_ONCE", 2)
    # On a fast machine all of them begin in the same second.
    monkeypatch.setattr(activities.payload_sweep, "_SHORTEST_SPAN", timedelta(milliseconds=1))
    await apart.deploy(project(SYNC))
    failed = []
    for number in range(5):
        is_not_ready(source)
        connection = await apart.connect(
            source.url, connection_id=str(number), metadata={"mode": "asks"}
        )
        failed.append(await apart.start_sync(connection))
        await fails(failed[-1])
    connection = await apart.connect(source.url, connection_id="well", metadata={"mode": "ends"})
    well = await apart.start_sync(connection)
    await well.result()
    before = await stored(apart)

    portions = 0
    while not (dropped := await sweep(apart, LATER)):
        assert await stored(apart) == before
        portions += 1
        assert portions < 50
    assert portions >= 3
    assert dropped == len(await named(well))
    assert await apart.container.database.payload_rounds.get(lasting=False) is None

    needed = set.union(*[await named(handle) for handle in failed])
    assert await stored(apart) == needed
    forget_cached(apart)
    await retried(apart, source, failed[0])


async def test_a_run_that_ended_well_and_is_reset_later_says_what_it_lacks(
    apart: Stack, source: Source
) -> None:
    handle = await succeeded(apart, source)
    history = await handle.fetch_history()
    tasks = [
        event.event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    client = apart.container.temporal

    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(
                workflow_id=handle.id, run_id=handle.result_run_id or ""
            ),
            reason="by somebody in the Temporal UI",
            workflow_task_finish_event_id=tasks[-1],
            request_id=str(uuid4()),
        )
    )

    again = client.get_workflow_handle(handle.id)
    async with asyncio.timeout(60):
        while "payloads_gone" not in await failures_of_tasks(again):
            await asyncio.sleep(0.1)
    await again.terminate()


async def test_a_history_whose_payloads_are_gone_says_so(apart: Stack, source: Source) -> None:
    handle = await succeeded(apart, source)
    references = [
        payload
        for event in (await handle.fetch_history()).events
        for payload in event.activity_task_completed_event_attributes.result.payloads
        if payload.external_payloads
    ]
    too_large_to_show = Payload()
    too_large_to_show.CopyFrom(references[0])
    too_large_to_show.external_payloads[0].size_bytes = 5_000_000
    body = MessageToDict(Payloads(payloads=[references[0], too_large_to_show]))

    async with client_of(create_app(apart.container), apart.secret_key) as client:
        history = await client.get(f"/runs/{handle.result_run_id}/history")
        retry = await client.post(f"/runs/{handle.result_run_id}/retry")
        shown = await client.post("/codec/decode", json=body)

    assert error_of(history) == (404, "payloads_gone")
    assert "PERDURE_PAYLOADS_DAYS" in history.json()["error"]["message"]
    assert error_of(retry) == (409, "run_succeeded")
    for payload in shown.json()["payloads"]:
        text = base64.b64decode(payload["data"]).decode()
        assert "not kept any more" in text
        assert "PERDURE_PAYLOADS_DAYS" in text


async def test_a_payload_that_was_lasting_once_stays_so(apart: Stack) -> None:
    database = apart.container.database
    blobs = database.blobs

    async def kept_as() -> dict[str, bool]:
        rows = await database.pool.fetch("SELECT key, lasting FROM payload_blobs")
        return {row["key"]: row["lasting"] for row in rows}

    await blobs.put_many({"both": b"1", "sync": b"2"}, lasting=False)
    assert await kept_as() == {"both": False, "sync": False}
    await blobs.put_many({"both": b"1"}, lasting=True)
    await blobs.put_many({"both": b"1"}, lasting=False)
    await database.pool.execute(
        "UPDATE payload_blobs SET used_at = used_at - $1::interval", 2 * DAY
    )
    # Old ones are stored anew when they are read.
    await blobs.get_many(["both", "sync"])

    assert await kept_as() == {"both": True, "sync": False}
    assert await blobs.known(["both", "other"]) == {"both"}
