"""Schedules of syncs on the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleOverlapPolicy

from activities.sync_runs import SyncRuns
from activities.sync_schedules import SyncSchedules, schedule_id, schedule_spec
from config.intervals import parse_runs
from perdure.db.runs import Run, RunStatus
from perdure.ids import EnvironmentId
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import ConnectionInput, DeployInput, SyncInput
from tests.support.project import WAITING, project
from tests.support.source import Source
from tests.support.stack import Stack

SLEEPING = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
    await asyncio.sleep(600)
"""


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def runs(stack: Stack) -> list[Run]:
    return list(await stack.container.database.runs.list(EnvironmentId(stack.environment.id)))


async def connected(stack: Stack, source: Source) -> SyncInput:
    """Connect, and let the workflow that follows make the schedules."""
    connection = await stack.connect(source.url)
    await stack.container.temporal.execute_workflow(
        WorkflowType.CONNECTION_CREATE,
        ConnectionInput(
            environment=stack.environment.name,
            environment_id=stack.environment.id,
            integration="tracker",
            connection_id=connection.connection_id,
            connection_key=connection.key,
        ),
        id=f"connection-create/{stack.environment.name}/tracker/acme",
        task_queue=TaskQueue.ACTIONS,
    )
    return stack.sync_input(connection)


async def test_new_connection_runs_its_syncs_at_once_and_then_by_schedule(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(auto_start=True))

    sync = await connected(stack, source)

    async def succeeded() -> bool:
        return [run.status for run in await runs(stack)] == [RunStatus.SUCCESS]

    await eventually(succeeded)
    status = await stack.container.schedules.status(sync)
    assert status is not None
    assert (status.paused, status.next_run_at is not None) == (False, True)
    described = await stack.container.temporal.get_schedule_handle(schedule_id(sync)).describe()
    assert described.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    row = await stack.container.database.syncs.get(sync.connection_key, "issues")
    assert row.last_sync_date == (await runs(stack))[0].started_at


async def test_run_with_a_time_limit_is_ended_by_nobody_but_itself(
    stack: Stack, source: Source
) -> None:
    files = project()
    files["nango.yaml"] = files["nango.yaml"].replace(
        "sync_type: full", "sync_type: full\n        run_timeout: 2h"
    )
    await stack.deploy(files)

    sync = await connected(stack, source)

    described = await stack.container.temporal.get_schedule_handle(schedule_id(sync)).describe()
    action = described.schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    # Temporal counts from when a run is due, its workers may be away, and what waits to be written
    # is lost with a run that is ended from outside.
    assert not any((action.execution_timeout, action.run_timeout))


async def test_sync_without_auto_start_waits_to_be_started(stack: Stack, source: Source) -> None:
    await stack.deploy(project(auto_start=False))
    sync = await connected(stack, source)
    status = await stack.container.schedules.status(sync)
    assert status is not None
    assert (status.paused, status.next_run_at) == (True, None)
    assert await runs(stack) == []

    await stack.container.schedules.start(sync)

    async def succeeded() -> bool:
        return [run.status for run in await runs(stack)] == [RunStatus.SUCCESS]

    await eventually(succeeded)
    status = await stack.container.schedules.status(sync)
    assert status is not None
    assert status.paused is False


async def test_pausing_and_starting_in_quick_succession_loses_neither(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project("async def fetch_data(nango):\n    pass\n"))
    sync = await connected(stack, source)
    schedules = stack.container.schedules

    for _ in range(15):
        await schedules.start(sync)
        started = await schedules.status(sync)
        await schedules.pause(sync)
        await schedules.trigger(sync)
        paused = await schedules.status(sync)

        assert started is not None
        assert paused is not None
        assert (started.paused, paused.paused) == (False, True)


async def test_trigger_works_on_a_paused_schedule_and_leaves_it_paused(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(auto_start=False))
    sync = await connected(stack, source)

    await stack.container.schedules.trigger(sync)

    async def succeeded() -> bool:
        return [run.status for run in await runs(stack)] == [RunStatus.SUCCESS]

    await eventually(succeeded)
    status = await stack.container.schedules.status(sync)
    assert status is not None
    assert status.paused is True


async def test_pause_cancels_the_run_and_keeps_what_it_saved(stack: Stack, source: Source) -> None:
    await stack.deploy(project(SLEEPING, auto_start=True))
    sync = await connected(stack, source)
    connection = await stack.container.database.connections.by_key(sync.connection_key)

    async def saved() -> bool:
        return bool(await stack.records(connection))

    await eventually(saved)
    parts = stack.container
    await SyncRuns(parts.database, parts.temporal, parts.schedules).pause(sync)

    async def cancelled() -> bool:
        return [run.status for run in await runs(stack)] == [RunStatus.CANCELLED]

    await eventually(cancelled, 10)
    assert len(await stack.records(connection)) == 1


async def test_two_triggers_during_a_run_make_one_run_after_it(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(WAITING, auto_start=True))
    sync = await connected(stack, source)
    schedule = stack.container.temporal.get_schedule_handle(schedule_id(sync))

    async def running() -> bool:
        return len(await runs(stack)) == 1

    await eventually(running)
    await stack.container.schedules.trigger(sync)
    await stack.container.schedules.trigger(sync)

    # The server takes them in a moment later; it skips the second, or takes both for one.
    async def one_waits() -> bool:
        return (await schedule.describe()).raw_description.info.buffer_size == 1

    await eventually(one_waits)
    await stack.go(await stack.container.database.connections.by_key(sync.connection_key))

    async def both_done() -> bool:
        found = await runs(stack)
        return len(found) >= 2 and all(run.status is RunStatus.SUCCESS for run in found)

    await eventually(both_done, 60)
    first, second = sorted(await runs(stack), key=lambda run: run.started_at)
    assert first.finished_at is not None
    assert second.started_at >= first.finished_at


async def test_deploy_brings_schedules_into_line(stack: Stack, source: Source) -> None:
    await stack.deploy(project())
    sync = await connected(stack, source)
    without = project()
    without["nango.yaml"] = without["nango.yaml"].replace("issues:", "tickets:")
    without["tracker/syncs/tickets.py"] = without.pop("tracker/syncs/issues.py")
    bundle = await stack.deploy(without)

    await stack.container.temporal.execute_workflow(
        WorkflowType.DEPLOY,
        DeployInput(
            environment=stack.environment.name,
            environment_id=stack.environment.id,
            bundle=bundle,
        ),
        id=f"deploy/{stack.environment.name}/1",
        task_queue=TaskQueue.ACTIONS,
    )

    schedules: SyncSchedules = stack.container.schedules
    assert await schedules.status(sync) is None
    assert await schedules.status(sync.model_copy(update={"sync": "tickets"})) is not None


@pytest.mark.parametrize("runs_text", ["every 30s", "every 1.5 hours", "every month"])
async def test_server_accepts_every_period(container: object, runs_text: str) -> None:
    spec = schedule_spec(parse_runs(runs_text), "some schedule")

    (interval,) = spec.intervals
    assert interval.offset is not None
    assert interval.offset < interval.every


async def test_deleting_a_connection_ends_its_run_and_removes_its_records(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(SLEEPING, auto_start=True))
    sync = await connected(stack, source)
    client: Client = stack.container.temporal
    connection = await stack.container.database.connections.by_key(sync.connection_key)

    async def saved() -> bool:
        return bool(await stack.records(connection))

    await eventually(saved)
    target = ConnectionInput(**sync.model_dump(exclude={"sync", "variant"}))
    for attempt in ("first", "again"):
        await client.execute_workflow(
            WorkflowType.CONNECTION_DELETE,
            target,
            id=f"connection-delete/{stack.environment.name}/{attempt}",
            task_queue=TaskQueue.ACTIONS,
        )

    async def ended() -> bool:
        return all(run.status is RunStatus.CANCELLED for run in await runs(stack))

    await eventually(ended, 10)
    assert await stack.container.schedules.status(sync) is None
    assert await stack.records(connection) == []


async def test_each_of_many_triggers_in_quick_succession_makes_a_run(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project("async def fetch_data(nango):\n    pass\n"))
    sync = await connected(stack, source)

    for number in range(1, 6):
        await stack.container.schedules.trigger(sync)

        async def done(number: int = number) -> bool:
            found = await runs(stack)
            return len(found) == number and all(run.finished_at for run in found)

        await eventually(done)
