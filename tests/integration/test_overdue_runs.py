"""Runs whose time is over and that cannot end themselves: the maintenance does."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from structlog.testing import capture_logs
from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from activities.action_queue import ActionQueueActivities, TurnInput
from activities.maintenance_schedule import ensure_maintenance, swept_since
from activities.overdue_runs import OverdueRuns
from activities.run_settling import RunSettling
from activities.runs import RunActivities, StartSyncInput
from api.app import create_app
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.worker import locate_script, workers
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.runs import Run, RunStart, RunStatus
from perdure.temporal.client import register_search_attributes
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import ActionInput, ScriptFiles, SyncInput
from perdure.temporal.watchdog import Watchdog
from tests.api.calls import client_of
from tests.support.deploys import eventually
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.source import Source
from tests.support.stack import Stack, namespaced

SLEEPS = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
    await asyncio.sleep(%s)
    await nango.batch_save([{"id": "2", "title": "saved"}], "Issue")
"""
CLEANS_UP = """
import asyncio

async def fetch_data(nango):
    try:
        await asyncio.sleep(600)
    finally:
        await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
        await asyncio.sleep(6)
"""


@workflow.defn(name=WorkflowType.SYNC, sandboxed=False)
class Faulty:
    """A sync that begins as any other does, and fails its second workflow task for ever."""

    @workflow.run
    async def run(self, sync: SyncInput) -> None:
        await workflow.execute_activity_method(
            RunActivities.start_sync,
            StartSyncInput(sync=sync, started_at=workflow.now()),
            task_queue=TaskQueue.SYNCS,
            start_to_close_timeout=timedelta(seconds=30),
        )
        # Meanwhile a test may have shut its worker down.
        await workflow.sleep(3)
        msg = "a fault of the engine"
        raise RuntimeError(msg)


@workflow.defn(name=WorkflowType.ACTION, sandboxed=False)
class FaultyAction:
    """An asynchronous action that asks for its turn, and fails its next workflow task for ever."""

    @workflow.run
    async def run(self, call: ActionInput, _: ScriptFiles) -> None:
        own = {"run_id": workflow.info().first_execution_run_id}
        await workflow.execute_activity_method(
            ActionQueueActivities.take_turn,
            TurnInput(context=call.context.model_copy(update=own)),
            task_queue=TaskQueue.ACTIONS,
            start_to_close_timeout=timedelta(seconds=30),
        )
        await workflow.sleep(1)
        msg = "a fault of the engine"
        raise RuntimeError(msg)


@asynccontextmanager
async def faulty(
    stack: Stack, connection: Connection
) -> AsyncIterator[tuple[Worker, WorkflowHandle[Any, Any]]]:
    """A run of the faulty sync, with a worker of its own."""
    queue = f"faulty-{uuid.uuid4()}"
    client = stack.container.temporal
    worker = Worker(client, task_queue=queue, workflows=[Faulty])
    async with worker:
        handle = await client.start_workflow(
            WorkflowType.SYNC,
            stack.sync_input(connection),
            id=f"sync/{stack.environment.name}/{uuid.uuid4()}",
            task_queue=queue,
        )
        yield worker, handle


async def deployed(stack: Stack, run_timeout: str | None, sync: str = SLEEPS % 600) -> str:
    """Deploy a sync with a limit; returns the bundle's hash."""
    files = project(sync)
    if run_timeout is not None:
        files["nango.yaml"] = files["nango.yaml"].replace(
            "sync_type: full", f"sync_type: full\n        run_timeout: {run_timeout}"
        )
    return await stack.deploy(files)


async def begun(stack: Stack) -> None:
    """Wait until a run has its row."""

    async def noted() -> bool:
        return bool(await stack.container.database.runs.list(stack.environment.id))

    await eventually(noted)


async def fails(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until a run's workflow task has failed more than once."""

    async def again() -> bool:
        description = (await handle.describe()).raw_description
        return description.pending_workflow_task.attempt > 1

    await eventually(again, 60)


async def waits(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until a run's workflow task is due that nobody takes."""

    async def due() -> bool:
        return (await handle.describe()).raw_description.HasField("pending_workflow_task")

    await eventually(due, 60)


async def saved(stack: Stack, connection: Connection) -> None:
    """Wait until a run has saved something."""

    async def some() -> bool:
        return bool(await stack.records(connection))

    await eventually(some)


def overdue_runs(stack: Stack, patience: timedelta = timedelta()) -> OverdueRuns:
    container = stack.container
    here_since = utcnow()

    async def as_now(_: datetime) -> datetime:
        return here_since

    return OverdueRuns(container.database, container.bundles, container.temporal, as_now, patience)


async def settled(
    stack: Stack, handle: WorkflowHandle[Any, Any], overdue: OverdueRuns | None = None
) -> Run:
    """Do what the maintenance does about a run, at once unless told otherwise; returns its row."""
    container = stack.container
    settling = RunSettling(
        container.database,
        container.bundles,
        container.temporal,
        overdue or overdue_runs(stack),
    )
    await settling.settle(await stack.run(handle))
    run: Run = await stack.run(handle)
    return run


async def ended(
    stack: Stack, handle: WorkflowHandle[Any, Any], overdue: OverdueRuns | None = None
) -> Run:
    """Do that until the run has ended."""

    async def has_ended() -> bool:
        return (await settled(stack, handle, overdue)).status is not RunStatus.RUNNING

    await eventually(has_ended)
    run: Run = await stack.run(handle)
    return run


@pytest.mark.parametrize(
    ("is_there", "why"), [(True, "times in a row"), (False, "no worker took it")]
)
async def test_run_that_cannot_end_in_time_is_ended_and_told(
    stack: Stack, source: Source, httpserver: HTTPServer, why: str, *, is_there: bool
) -> None:
    database = stack.container.database
    url = Receiver(httpserver).url
    await database.webhook_settings.change(stack.environment.id, {"primary_url": url})
    await deployed(stack, "1s")
    connection = await stack.connect(source.url)
    async with faulty(stack, connection) as (worker, handle):
        if is_there:
            await fails(handle)
        else:
            await begun(stack)
            await worker.shutdown()
            await waits(handle)
        run = await ended(stack, handle)

    error = run.error or {}
    assert (run.status, error["type"]) == (RunStatus.TIMEOUT, "run_timeout")
    assert why in error["message"]
    assert f"perdure runs retry {run.id}" in error["message"]
    assert (await handle.describe()).status is WorkflowExecutionStatus.TERMINATED
    [told] = await database.deliveries.list(stack.environment.id)
    assert told.run_id == run.id


@pytest.mark.parametrize("run_timeout", ["1h", None])
async def test_run_that_stands_still_within_its_time_goes_on_and_is_told_once(
    stack: Stack, source: Source, run_timeout: str | None
) -> None:
    await deployed(stack, run_timeout)
    connection = await stack.connect(source.url)
    async with faulty(stack, connection) as (_, handle):
        await fails(handle)

        overdue = overdue_runs(stack)
        with capture_logs() as logs:
            await settled(stack, handle, overdue)
            run = await settled(stack, handle, overdue)

        assert run.status is RunStatus.RUNNING
        told = [line for line in logs if line["event"] == "run_stands_still"]
        assert [line["run_id"] for line in told].count(run.id) == 1
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        await handle.terminate()


async def test_late_run_that_a_worker_carries_on_is_left_to_it(
    stack: Stack, source: Source
) -> None:
    await deployed(stack, "1s", CLEANS_UP)
    connection = await stack.connect(source.url)
    overdue = overdue_runs(stack, timedelta(seconds=3))
    handle = await stack.start_sync(connection)
    await saved(stack, connection)

    run = await ended(stack, handle, overdue)

    assert run.status is RunStatus.TIMEOUT
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    description = await handle.describe()
    assert description.status is WorkflowExecutionStatus.FAILED, "and not terminated"
    assert description.close_time is not None
    assert description.close_time - run.started_at > timedelta(seconds=4), "it was late"


async def test_time_of_a_run_that_no_worker_took_up_has_not_begun(
    stack: Stack, source: Source
) -> None:
    bundle = await deployed(stack, "1s")
    connection = await stack.connect(source.url)
    handle = await stack.container.temporal.start_workflow(
        WorkflowType.SYNC,
        stack.sync_input(connection),
        id=f"sync/{stack.environment.name}/{uuid.uuid4()}",
        task_queue=f"nobody-{uuid.uuid4()}",
    )
    assert handle.result_run_id is not None
    await stack.container.database.runs.start(
        RunStart(
            id=handle.result_run_id,
            workflow_id=handle.id,
            environment_id=stack.environment.id,
            kind=WorkflowType.SYNC,
            script="issues",
            started_at=utcnow(),
            integration=connection.integration,
            connection_id=connection.connection_id,
            connection_key=connection.key,
            bundle_hash=bundle,
        )
    )
    await waits(handle)

    assert (await settled(stack, handle)).status is RunStatus.RUNNING
    await handle.terminate()


async def test_time_of_an_action_that_waits_for_its_turn_has_not_begun(
    stack: Stack, source: Source
) -> None:
    queue, database = f"faulty-{uuid.uuid4()}", stack.container.database
    await database.actions.set_limits(stack.environment.id, environment=1, connection=None)
    files = project()
    files["nango.yaml"] = files["nango.yaml"].replace(
        "endpoint: POST /echo", "endpoint: POST /echo\n        run_timeout: 1s"
    )
    await stack.deploy(files)
    connection = await stack.connect(source.url)
    async with Worker(stack.container.temporal, task_queue=queue, workflows=[FaultyAction]):
        first, second = [
            await stack.start_action(connection, {}, queued=True, task_queue=queue)
            for _ in range(2)
        ]
        for handle in (first, second):
            await fails(handle)
        turns = {h.id: h for h in (first, second) if await database.action_queue.has_turn(h.id)}
        [has_turn] = turns.values()
        waiting = second if has_turn is first else first

        assert (await settled(stack, waiting)).status is RunStatus.RUNNING
        assert (await ended(stack, has_turn)).status is RunStatus.TIMEOUT

        assert await database.action_queue.has_turn(waiting.id), "it was passed on"
        await waiting.terminate()


@asynccontextmanager
async def working(container: Container) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for worker in workers(container, container.transport):
            await stack.enter_async_context(worker)
        yield


async def test_run_that_a_bad_release_kept_over_its_time_goes_on_where_it_is_retried(
    settings: Settings, source: Source
) -> None:
    own = await namespaced(settings)
    async with open_container(own, name="worker", watchdog=Watchdog(locate_script)) as container:
        await register_search_attributes(container.temporal)
        stack = await Stack.create(container)
        await deployed(stack, "10s", SLEEPS % 8)
        connection = await stack.connect(source.url)
        async with working(container):
            handle = await stack.start_sync(connection)
            await saved(stack, connection)
        async with Worker(container.temporal, task_queue=TaskQueue.SYNCS, workflows=[Faulty]):
            await fails(handle)
            run = await ended(stack, handle)
        assert run.status is RunStatus.TIMEOUT

        async with working(container), client_of(create_app(container), stack.secret_key) as client:
            answer = await client.post(f"/runs/{run.id}/retry", json={}, timeout=60)
            assert answer.status_code == 200, answer.text
            await container.temporal.get_workflow_handle(handle.id).result()

        run = await stack.run(handle)
        assert (run.status, run.counts["Issue"]["added"]) == (RunStatus.SUCCESS, 2)


async def test_maintenance_has_run_since_its_first_run_without_a_pause(settings: Settings) -> None:
    own = await namespaced(settings)
    async with open_container(own, name="perdure-tests") as container:
        client = container.temporal
        now = utcnow()
        assert await swept_since(client, now) == now, "there is no schedule yet"
        await ensure_maintenance(client)
        assert await swept_since(client, now) == now, "it has not run yet"
        await client.get_schedule_handle(WorkflowType.MAINTENANCE).trigger()

        async def has_run() -> bool:
            return await swept_since(client, now + timedelta(minutes=5)) < now + timedelta(
                minutes=5
            )

        await eventually(has_run)
        began = await swept_since(client, now + timedelta(minutes=5))
        assert timedelta() < began - now < timedelta(minutes=1)
        late = now + timedelta(hours=2)
        assert await swept_since(client, late) == late, "nobody was there meanwhile"
