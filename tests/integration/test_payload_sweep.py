"""Large payloads are removed once no history that Temporal keeps can name them, and not before."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from activities.retries import RetryInput
from perdure.clock import utcnow
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.support.payloads import DAY, named, stored, sweep
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

# Ends when it is told to; long enough to be shared by its runs outside of their histories.
WAITS = f"""
import asyncio
# {"x" * 50_000}

async def run_action(nango, input):
    while input["waits"] and not (await nango.get_metadata() or {{}}).get("go"):
        await asyncio.sleep(0.1)
    return input
"""


async def forgotten(stack: Stack, handle: WorkflowHandle[Any, Any], run_id: str) -> None:
    """Have Temporal forget an execution, as it does when its retention is over."""
    client = stack.container.temporal
    execution = WorkflowExecution(workflow_id=handle.id, run_id=run_id)
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    )
    # It takes its time.
    async with asyncio.timeout(120):
        while (await client.count_workflows(f"RunId = '{run_id}'")).count:
            await asyncio.sleep(0.05)


async def until_begun(handle: WorkflowHandle[Any, Any]) -> None:
    async with asyncio.timeout(30):
        while (await handle.describe()).history_length < 10:
            await asyncio.sleep(0.05)


async def test_payloads_stay_as_long_as_a_run_is_open_or_temporal_keeps_its_history(
    apart: Stack, source: Source
) -> None:
    await apart.deploy(project(action=WAITS))
    connection = await apart.connect(source.url)
    large = "x" * 50_000
    ended = await apart.start_action(connection, {"text": large, "waits": False})
    assert (await ended.result())["output"]["text"] == large
    open_ = await apart.start_action(connection, {"text": large, "waits": True})
    await until_begun(open_)
    assert ended.result_run_id is not None
    before = await stored(apart)
    assert before == await named(ended) | await named(open_)
    assert await named(ended) & await named(open_), "they share their script"

    assert await sweep(apart, 40 * DAY) == 0
    assert await stored(apart) == before, "both histories are there"

    only_ended = await named(ended) - await named(open_)
    await forgotten(apart, ended, ended.result_run_id)
    assert await sweep(apart, 41 * DAY) == 0, "they count as used on the day before"
    assert await sweep(apart, 80 * DAY) == len(only_ended)
    assert await stored(apart) == before - only_ended

    await apart.container.database.connections.set_metadata(
        apart.environment.id, "tracker", ["acme"], {"go": True}
    )
    assert (await open_.result())["output"]["text"] == large
    assert await named(open_) <= await stored(apart)


FAILS = """
async def large():
    return "x" * 50_000

async def fetch_data(nango):
    text = await nango.run(large)
    answer = await nango.get(endpoint="/ready")
    title = f"{len(text)} {answer.data['ready']}"
    await nango.batch_save([{"id": "1", "title": title}], "Issue")
"""


async def test_a_run_that_is_retried_long_after_keeps_what_it_did_before(
    apart: Stack, source: Source
) -> None:
    database = apart.container.database
    source.server.expect_ordered_request("/ready").respond_with_data("no", status=404)
    await apart.deploy(project(FAILS))
    connection = await apart.connect(source.url)
    handle = await apart.start_sync(connection)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    first = handle.result_run_id or ""
    needed = await named(handle, first)
    assert needed
    await database.blobs.put_many({"0" * 64: b"named by nobody"})
    await database.pool.execute(
        "UPDATE payload_blobs SET used_at = used_at - $1::interval", 40 * DAY
    )

    source.server.expect_ordered_request("/ready").respond_with_json({"ready": "yes"})
    retry = RetryInput(environment_id=apart.environment.id, run_id=first)
    await apart.container.temporal.execute_workflow(
        WorkflowType.RETRY, retry, id=f"retry/{uuid4()}", task_queue=TaskQueue.ACTIONS
    )
    await apart.container.temporal.get_workflow_handle(handle.id).result()
    # All that Temporal knows of has begun just now.
    assert await sweep(apart) == 1

    assert await stored(apart) >= needed
    assert await named(handle) <= await stored(apart)
    (record,) = await apart.records(connection)
    assert record["title"] == "50000 yes"


async def test_payloads_that_are_used_again_stay(apart: Stack) -> None:
    blobs = apart.container.database.blobs
    await blobs.put_many({"stored": b"1", "read": b"2", "neither": b"3"})
    await apart.container.database.pool.execute(
        "UPDATE payload_blobs SET used_at = used_at - $1::interval", 40 * DAY
    )
    await blobs.put_many({"stored": b"1"})
    assert await blobs.get_many(["read", "unknown"]) == {"read": b"2"}

    assert await sweep(apart) == 1

    assert await stored(apart) == {"stored", "read"}


async def test_a_payload_that_is_stored_while_it_is_removed_is_there_afterwards(
    apart: Stack,
) -> None:
    database = apart.container.database
    blobs, moment = database.blobs, utcnow()
    keys = [f"{number:03}" for number in range(200)]
    content = dict.fromkeys(keys, b"x" * 1_000)
    for _ in range(20):
        await blobs.put_many(content)
        await database.pool.execute("UPDATE payload_blobs SET used_at = $1", moment - 40 * DAY)

        async def remove() -> None:
            while await blobs.drop_unused(moment - DAY, lasting=True, limit=7):
                pass

        async def store(part: list[str]) -> None:
            await blobs.put_many(dict.fromkeys(part, b"x" * 1_000))

        async def read(part: list[str]) -> set[str]:
            return set(await blobs.get_many(part))

        *_, seen = await asyncio.gather(
            remove(), remove(), store(keys[:80]), store(keys[60:120]), read(keys[120:])
        )

        kept = await stored(apart)
        assert set(keys[:120]) <= kept
        assert seen <= kept


async def test_a_payload_in_the_hands_of_somebody_who_stores_it_is_not_removed(
    apart: Stack,
) -> None:
    database = apart.container.database
    blobs, moment = database.blobs, utcnow()
    await blobs.put_many({"one": b"1"})
    await database.pool.execute("UPDATE payload_blobs SET used_at = $1", moment - 40 * DAY)

    async with database.transaction() as conn:
        await conn.execute("SELECT FROM payload_blobs WHERE key = 'one' FOR NO KEY UPDATE")
        assert await blobs.drop_unused(moment, lasting=True, limit=10) == 0
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM payload_blobs WHERE key = 'one'")
        storing = asyncio.create_task(blobs.put_many({"one": b"1"}))
        async with asyncio.timeout(30):
            while not await database.pool.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted"
            ):
                await asyncio.sleep(0.01)
    await storing

    assert await stored(apart) == {"one"}
