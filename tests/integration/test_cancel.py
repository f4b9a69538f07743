"""A cancelled run stops within seconds, whatever its script is doing, and is shown as cancelled."""

from __future__ import annotations

import asyncio
import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.worker import Worker
from werkzeug import Response

from perdure.app.registrations import SYNC_WORKFLOWS
from perdure.db.runs import RunStatus
from perdure.temporal.names import WorkflowType
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

_CANCEL_REQUESTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED

STUBBORN = """
async def fetch_data(nango):
    while True:
        try:
            await nango.get(endpoint="/issues")
        except Exception as error:
            await nango.log("ignored", repr(error))
"""


async def until_step(
    handle: WorkflowHandle[Any, Any], step: str, state: PendingActivityState.ValueType | None = None
) -> None:
    """Wait until a step of a run is pending, in a certain state."""
    async with asyncio.timeout(20):
        while True:
            found = (await handle.describe()).raw_description.pending_activities
            if any(a.activity_type.name == step and state in (None, a.state) for a in found):
                return
            await asyncio.sleep(0.02)


async def until_heard(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until a run has worked off that it is to be cancelled."""
    async with asyncio.timeout(20):
        while True:
            kinds = [event.event_type async for event in handle.fetch_history_events()]
            since = kinds[kinds.index(_CANCEL_REQUESTED) :] if _CANCEL_REQUESTED in kinds else []
            if EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in since:
                return
            await asyncio.sleep(0.02)


@pytest.mark.timeout(120)
async def test_cancelling_stops_a_script_that_catches_every_exception(
    stack: Stack, source: Source
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(_: int) -> Response | None:
        asked.set()
        release.wait(60)
        return None

    source.before = hang
    await stack.deploy(project(STUBBORN))
    handle = await stack.start_sync(await stack.connect(source.url))
    await asyncio.to_thread(asked.wait, 20)

    await handle.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    release.set()

    assert isinstance(caught.value.cause, CancelledError)
    run = await stack.run(handle)
    assert (run.status, run.error) == (RunStatus.CANCELLED, None)


async def test_run_cancelled_while_it_starts_is_shown_as_cancelled(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    database = stack.container.database
    async with database.transaction() as conn:
        # A deploy that is being activated: the start waits for it.
        await conn.execute(
            "SELECT FROM environments WHERE id = $1 FOR UPDATE", stack.environment.id
        )
        handle = await stack.start_sync(connection)

        await until_step(handle, "start_sync", PendingActivityState.PENDING_ACTIVITY_STATE_STARTED)
        await handle.cancel()
        await until_step(
            handle, "start_sync", PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
        )

    async with asyncio.timeout(10):
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()

    assert isinstance(caught.value.cause, CancelledError)
    run = await stack.run(handle)
    assert (run.status, source.served) == (RunStatus.CANCELLED, {})


LOCKS = """
async def fetch_data(nango):
    await nango.try_acquire_lock(key="k", ttl_ms=60_000)
    await nango.get(endpoint="/issues")
"""


async def test_cancelling_a_run_that_ends_anyway_leaves_nothing_half_ended(
    stack: Stack, source: Source
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(_: int) -> Response | None:
        asked.set()
        release.wait(20)
        return None

    source.before = hang
    await stack.deploy(project(LOCKS))
    handle = await stack.start_sync(await stack.connect(source.url))
    await asyncio.to_thread(asked.wait, 20)
    database = stack.container.database
    async with database.transaction() as conn:
        await conn.execute("SELECT FROM runs WHERE id = $1 FOR UPDATE", handle.result_run_id)
        release.set()
        await until_step(handle, "finish_sync", PendingActivityState.PENDING_ACTIVITY_STATE_STARTED)
        await handle.cancel()
        await until_heard(handle)

    await handle.result()

    assert (await stack.run(handle)).status is RunStatus.SUCCESS
    assert await database.locks.acquire(stack.environment.id, "k", "another", timedelta(seconds=1))


async def test_run_cancelled_before_its_start_is_noted_is_shown_as_cancelled(
    stack: Stack, source: Source, running_workers: list[Worker]
) -> None:
    await stack.deploy(project())
    sync = stack.sync_input(await stack.connect(source.url))
    client, queue = stack.container.temporal, f"starting-{uuid.uuid4()}"
    async with Worker(client, task_queue=queue, workflows=SYNC_WORKFLOWS):
        handle = await client.start_workflow(
            WorkflowType.SYNC, sync, id=f"sync/{uuid.uuid4()}", task_queue=queue
        )
        await until_step(handle, "start_sync")
        await handle.cancel()
        await until_step(handle, "cancel_start")
        activities = running_workers[0].config()["activities"]
        async with Worker(client, task_queue=queue, activities=activities):
            with pytest.raises(WorkflowFailureError) as caught:
                await handle.result()

    assert isinstance(caught.value.cause, CancelledError)
    assert (await stack.run(handle)).status is RunStatus.CANCELLED


ASKS = """
async def run_action(nango, input):
    await nango.try_acquire_lock(key="k", ttl_ms=60_000)
    return len((await nango.get(endpoint="/issues")).data["items"])
"""
_OF_RUN = "SELECT FROM runs WHERE id = $1 FOR UPDATE"
_OF_LOCK = "SELECT FROM script_locks WHERE owner = $1 FOR UPDATE"


@pytest.mark.parametrize(
    ("call", "step", "row"),
    [
        ({"keeps_record": True}, "finish_run", _OF_RUN),
        ({"queued": True}, "end_action", _OF_RUN),
        ({"keeps_record": True}, "release_all_locks", _OF_LOCK),
    ],
)
async def test_cancelling_an_action_that_ends_anyway_leaves_nothing_half_ended(
    stack: Stack, source: Source, call: dict[str, Any], step: str, row: str
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(_: int) -> Response | None:
        asked.set()
        release.wait(20)
        return None

    source.before = hang
    await stack.deploy(project(action=ASKS))
    handle = await stack.start_action(await stack.connect(source.url), {}, **call)
    await asyncio.to_thread(asked.wait, 20)
    database = stack.container.database
    async with database.transaction() as conn:
        await conn.execute(row, handle.result_run_id)
        release.set()
        await until_step(handle, step, PendingActivityState.PENDING_ACTIVITY_STATE_STARTED)
        await handle.cancel()
        await until_heard(handle)

    assert (await handle.result())["output"] == 100

    assert (await stack.run(handle)).status is RunStatus.SUCCESS
    assert await database.locks.acquire(stack.environment.id, "k", "another", timedelta(seconds=1))
