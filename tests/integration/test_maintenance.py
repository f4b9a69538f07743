"""What is given up after a while, where the settings say so."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from structlog.testing import capture_logs
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities import maintenance_schedule
from activities.connection_setups import ConnectionSetupActivities
from activities.credential_refreshes import CredentialActivities
from activities.hooks import Hooks
from activities.maintenance import MaintenanceActivities, Retention, Sweep, Swept
from activities.maintenance_schedule import ensure_maintenance
from activities.payload_sweep import PayloadSweep
from activities.run_settling import RunSettling
from activities.webhook_starts import DeliveryStarter
from activities.webhooks import WebhookActivities
from config.settings import Settings
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.records import RecordSet
from perdure.db.runs import RunStart, RunStatus
from perdure.db.webhook_arrivals import NewEvent, NewTask
from perdure.ids import action_workflow_id
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import HistoryLimits
from tests.support.deaf_ears import way_to
from tests.support.deploys import eventually
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.record_counts import live_count
from tests.support.source import Source
from tests.support.stack import Stack, namespaced
from workflows.maintenance import Maintain

DAY = timedelta(days=1)


async def age(stack: Stack, connection: Connection, days: int, *, runs: bool = True) -> None:
    """Let what a connection holds, and what ran for it, have happened some days ago."""
    async with stack.container.database.transaction() as conn:
        await conn.execute(
            "UPDATE records SET first_seen_at = first_seen_at - $2::interval,"
            " last_modified_at = last_modified_at - $2::interval WHERE connection_key = $1",
            connection.key,
            timedelta(days=days),
        )
        if runs:
            await conn.execute(
                "UPDATE runs SET started_at = started_at - $2::interval WHERE connection_key = $1",
                connection.key,
                timedelta(days=days),
            )


@activity.defn(name="restore_schedules")
async def no_schedules(_: Sweep) -> Swept:
    """In its place: environments of other tests lack schedules on purpose; see `test_backup`."""
    return Swept()


@activity.defn(name="restore_schedules")
async def failing_schedules(_: Sweep) -> Swept:
    """In its place, where it cannot be done."""
    msg = "no"
    raise ApplicationError(msg, non_retryable=True)


async def maintain(
    stack: Stack, retention: Retention, restore: Callable[..., Any] = no_schedules
) -> dict[str, int]:
    """Run the maintenance once, on a worker with these settings."""
    container = stack.container
    settling = RunSettling(container.database, container.bundles, container.temporal)
    steps = MaintenanceActivities(container.database, container.bundles, retention, settling)
    hooks = Hooks(container.database, container.bundles, HistoryLimits(), limit=300)
    setups = ConnectionSetupActivities(
        container.database, hooks, container.catalog, container.temporal
    )
    database = container.database
    payloads = PayloadSweep(
        database.blobs, database.payload_rounds, database.runs, container.temporal, 30 * DAY
    )
    queue = f"maintenance-{uuid.uuid4()}"
    async with HttpTransport(AddressGuard()) as transport:
        webhooks = WebhookActivities(
            container.database,
            container.catalog,
            transport,
            DeliveryStarter(container.temporal, container.settings.webhook_patience),
        )
        worker = Worker(
            container.temporal,
            task_queue=queue,
            workflows=[Maintain],
            activities=[
                restore,
                steps.settle_runs,
                steps.prune_old_records,
                steps.drop_idle_records,
                steps.drop_old_webhooks,
                steps.drop_old_keys,
                steps.drop_old_runs,
                steps.drop_old_audit,
                steps.drop_old_deliveries,
                payloads.drop_unused_payloads,
                webhooks.start_forgotten_deliveries,
                setups.start_awaited_setups,
                CredentialActivities(container.database, container.keeper).refresh_idle_credentials,
            ],
        )
        async with worker:
            result: dict[str, int] = await container.temporal.execute_workflow(
                WorkflowType.MAINTENANCE, Sweep(batch=70), id=queue, task_queue=queue
            )
    return result


async def test_payloads_that_do_not_change_for_long_are_pruned(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    await age(stack, connection, 40)
    source.records[0]["title"] = "changed lately"
    await stack.run_sync(connection)

    await maintain(stack, Retention(payloads=30 * DAY, idle_records=None))

    records = await stack.records(connection)
    assert len(records) == 250
    assert [record["id"] for record in records if "title" in record] == ["1"]
    again = await maintain(stack, Retention(payloads=30 * DAY, idle_records=None))
    assert again["pruned_records"] == 0


async def test_step_that_fails_keeps_no_other_from_being_done(stack: Stack, source: Source) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    await age(stack, connection, 40)

    with pytest.raises(WorkflowFailureError) as failed:
        await maintain(stack, Retention(payloads=30 * DAY, idle_records=None), failing_schedules)

    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, "restore_schedules" in cause.message) == ("maintenance_incomplete", True)
    assert not any("title" in record for record in await stack.records(connection))


async def test_records_of_a_sync_that_does_not_run_are_dropped_and_fetched_anew_when_it_does(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project())
    idle = await stack.connect(source.url, connection_id="idle")
    busy = await stack.connect(source.url, connection_id="busy")
    for connection in (idle, busy):
        await stack.run_sync(connection)
    await age(stack, idle, 70)
    await age(stack, busy, 70, runs=False)

    await maintain(stack, Retention(payloads=None, idle_records=60 * DAY))

    database = stack.container.database
    assert await stack.records(idle) == []
    assert await live_count(database, RecordSet(idle.key, "Issue")) == 0
    assert len(await stack.records(busy)) == 250
    assert (await database.syncs.get(idle.key, "issues")).last_sync_date is None
    await stack.run_sync(idle)
    assert len(await stack.records(idle)) == 250


async def test_nothing_is_given_up_unless_the_settings_say_so(stack: Stack, source: Source) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    await age(stack, connection, 4000)

    result = await maintain(stack, Retention(payloads=None, idle_records=None))

    # Runs that other tests have ended by force are settled meanwhile: nothing is lost by that.
    given_up = {name: n for name, n in result.items() if name.startswith(("pruned", "dropped"))}
    assert len(given_up) >= 7
    assert not any(given_up.values())
    assert all("title" in record for record in await stack.records(connection))


@pytest.mark.usefixtures("running_workers")
async def test_maintenance_has_one_schedule(stack: Stack) -> None:
    client = stack.container.temporal
    await ensure_maintenance(client)
    await ensure_maintenance(client)
    found = await client.get_schedule_handle(WorkflowType.MAINTENANCE).describe()
    assert found.schedule.action.task_queue == TaskQueue.ACTIONS
    await client.get_schedule_handle(WorkflowType.MAINTENANCE).delete()


async def test_maintenance_is_scheduled_once_temporal_answers(
    settings: Settings, temporal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance_schedule, "_RPC_TIMEOUT", timedelta(seconds=0.5))
    monkeypatch.setattr(maintenance_schedule, "_AGAIN_SECONDS", 0.1)
    own = await namespaced(settings)
    async with way_to(temporal) as way:
        client = await Client.connect(
            way.address,
            namespace=own.temporal_namespace,
            data_converter=pydantic_data_converter,
        )
        way.loses_answers = True
        with capture_logs() as logs:
            scheduling = asyncio.create_task(ensure_maintenance(client))

            async def is_told() -> bool:
                return "maintenance_not_scheduled" in [line["event"] for line in logs]

            await eventually(is_told)
            assert not scheduling.done()
            way.loses_answers = False
            await scheduling

    direct = await Client.connect(temporal, namespace=own.temporal_namespace)
    await direct.get_schedule_handle(WorkflowType.MAINTENANCE).delete()


SLEEPS = """
import asyncio

async def fetch_data(nango):
    assert await nango.try_acquire_lock(key="mine", ttl_ms=600_000)
    await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [("terminate", RunStatus.FAILED, "run_terminated"), ("time", RunStatus.TIMEOUT, "run_timeout")],
)
async def test_run_that_temporal_ended_is_settled_and_told(
    stack: Stack, source: Source, httpserver: HTTPServer, end: str, status: RunStatus, code: str
) -> None:
    receiver = Receiver(httpserver)
    database = stack.container.database
    await database.webhook_settings.change(stack.environment.id, {"primary_url": receiver.url})
    await stack.deploy(project(SLEEPS))
    connection = await stack.connect(source.url)
    handle = await stack.container.temporal.start_workflow(
        WorkflowType.SYNC,
        stack.sync_input(connection),
        id=f"sync/{stack.environment.name}/{uuid.uuid4()}",
        task_queue=TaskQueue.SYNCS,
        execution_timeout=timedelta(seconds=15) if end == "time" else None,
    )
    async with asyncio.timeout(30):
        while not await stack.records(connection):
            await asyncio.sleep(0.05)
    if end == "terminate":
        await handle.terminate()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    await age(stack, connection, 1)

    await maintain(stack, Retention(payloads=None, idle_records=None))

    run = await stack.run(handle)
    assert (run.status, run.error and run.error["type"]) == (status, code)
    [delivery] = await database.deliveries.list(stack.environment.id)
    assert delivery.run_id == run.id
    taken = await database.locks.acquire(
        stack.environment.id, "mine", "another", timedelta(minutes=1)
    )
    assert taken, "its locks are free"
    assert len(await stack.records(connection)) == 1


async def test_of_several_runs_that_temporal_ended_each_is_told(
    stack: Stack, source: Source, httpserver: HTTPServer
) -> None:
    database = stack.container.database
    url = Receiver(httpserver).url
    await database.webhook_settings.change(stack.environment.id, {"primary_url": url})
    await stack.deploy(project(SLEEPS.replace("assert await nango.try", "await nango.try")))
    connections = [await stack.connect(source.url, connection_id=name) for name in "ab"]
    handles = [await stack.start_sync(connection) for connection in connections]
    for connection, handle in zip(connections, handles, strict=True):
        async with asyncio.timeout(30):
            while not await stack.records(connection):
                await asyncio.sleep(0.05)
        await handle.terminate()
        await age(stack, connection, 1)

    await maintain(stack, Retention(payloads=None, idle_records=None))

    told = await database.deliveries.list(stack.environment.id)
    assert {d.run_id for d in told} == {handle.result_run_id for handle in handles}


RESTS = """
import asyncio

async def run_action(nango, input):
    await asyncio.sleep(input)
    return "rested"
"""


async def until_begun(stack: Stack, handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until an asynchronous action has its turn."""
    async with asyncio.timeout(30):
        while not await stack.container.database.action_queue.has_turn(handle.id):
            await asyncio.sleep(0.05)


async def test_asynchronous_action_that_was_terminated_is_told_and_gives_its_turn_up(
    stack: Stack, source: Source, httpserver: HTTPServer
) -> None:
    receiver, database = Receiver(httpserver), stack.container.database
    await database.webhook_settings.change(stack.environment.id, {"primary_url": receiver.url})
    await database.actions.set_limits(stack.environment.id, environment=1, connection=None)
    await stack.deploy(project(action=RESTS))
    connection = await stack.connect(source.url)
    handle = await stack.start_action(connection, 600, queued=True)
    await until_begun(stack, handle)
    waiting = await stack.start_action(connection, 0, queued=True)
    async with asyncio.timeout(30):
        while not await database.action_queue.has_place(waiting.id):
            await asyncio.sleep(0.05)
    await handle.terminate()
    await age(stack, connection, 1)

    await maintain(stack, Retention(payloads=None, idle_records=None))

    run = await stack.run(handle)
    assert (run.status, run.error and run.error["type"]) == (RunStatus.FAILED, "run_terminated")
    async with asyncio.timeout(30):
        assert (await waiting.result())["output"] == "rested"
    told = await database.deliveries.list(stack.environment.id)
    assert [d.type for d in told if d.run_id == run.id] == ["async_action"]


async def test_action_that_ends_after_it_was_settled_is_told_once(
    stack: Stack, source: Source, httpserver: HTTPServer
) -> None:
    receiver, database = Receiver(httpserver), stack.container.database
    await database.webhook_settings.change(stack.environment.id, {"primary_url": receiver.url})
    await stack.deploy(project(action=RESTS))
    handle = await stack.start_action(await stack.connect(source.url), 3, queued=True)
    await until_begun(stack, handle)
    error = {"type": "run_terminated", "message": "by force"}
    assert handle.result_run_id is not None
    await database.runs.finish(
        handle.result_run_id, RunStatus.FAILED, finished_at=utcnow(), error=error
    )

    await handle.result()

    assert await database.deliveries.list(stack.environment.id) == []


async def test_old_keys_of_actions_are_forgotten_once_their_runs_have_ended(stack: Stack) -> None:
    database, environment = stack.container.database, stack.environment
    ended, open_, young = (uuid.uuid4() for _ in range(3))
    for key in (ended, open_, young):
        await database.actions.claim_key(environment.id, key, bytes(16))
        start = RunStart(
            id=str(key),
            workflow_id=action_workflow_id(environment.name, str(key)),
            environment_id=environment.id,
            kind="action",
            script="echo",
            # Young, for whoever settles runs that Temporal does not know.
            started_at=utcnow(),
        )
        await database.runs.start(start)
    for key in (ended, young):
        await database.runs.finish(str(key), RunStatus.SUCCESS, finished_at=utcnow())
    async with database.transaction() as conn:
        await conn.execute(
            "UPDATE action_keys SET created_at = created_at - $2::interval WHERE id = ANY ($1)",
            [ended, open_],
            91 * DAY,
        )

    done = await maintain(stack, Retention(payloads=None, idle_records=None, keys=90 * DAY))

    assert done["dropped_action_keys"] >= 1
    other = bytes(15) + b"1"
    known = {
        key: await database.actions.claim_key(environment.id, key, other) is not None
        for key in (ended, open_, young)
    }
    assert known == {ended: False, open_: True, young: True}


async def test_old_webhooks_are_removed_once_they_were_handled(
    stack: Stack, source: Source
) -> None:
    connection = await stack.connect(source.url)
    events = stack.container.database.webhook_events
    open_task = NewTask(connection.key, "acme", "issues")
    for days, tasks in ((1, ()), (9, ()), (9, (open_task,))):
        event = NewEvent(
            id=uuid.uuid4(),
            environment_id=stack.environment.id,
            environment=stack.environment.name,
            integration_id=connection.integration_id,
            integration="tracker",
            delivery_id=None,
            types=(),
            headers={},
            query={},
            body=b"",
            tasks=tasks,
        )
        async with stack.container.database.transaction() as conn:
            await stack.container.database.webhook_arrivals.add(event, conn=conn)
            await conn.execute(
                "UPDATE webhook_events SET received_at = now() - $2::interval WHERE id = $1",
                event.id,
                days * DAY,
            )

    done = await maintain(stack, Retention(payloads=None, idle_records=None, webhooks=7 * DAY))

    assert done["dropped_webhook_events"] >= 1
    left = await events.list(stack.environment.id)
    assert [event.status for event in left] == ["pending", "ignored"]


async def test_runs_webhooks_and_the_audit_are_kept_for_a_while(
    stack: Stack, source: Source, httpserver: HTTPServer
) -> None:
    database, environment = stack.container.database, stack.environment
    settings = {"primary_url": Receiver(httpserver).url, "on_sync_completion_always": True}
    await database.webhook_settings.change(environment.id, settings)
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    for _ in range(3):
        await stack.run_sync(connection)
    runs = [run.id for run in await database.runs.list(environment.id, limit=10)]
    acts = [
        await database.audit.begin(
            environment.id,
            environment.name,
            key_id=None,
            key_name="secret key",
            act="api_key.create",
            subject="ci",
            request_id=str(number),
        )
        for number in range(2)
    ]

    async def all_delivered() -> bool:
        told = await database.deliveries.list(environment.id)
        return len(told) == 3 and all(delivery.finished_at for delivery in told)

    # What is still on its way ends by itself, and now.
    await eventually(all_delivered)
    told = await database.deliveries.list(environment.id)
    async with database.transaction() as conn:
        for table, column, ids in (
            ("runs", "started_at", runs),
            ("runs", "finished_at", runs),
            ("webhook_deliveries", "finished_at", [told[0].id]),
        ):
            await conn.execute(
                f"UPDATE {table} SET {column} = {column} - $2::interval WHERE id = ANY ($1)",
                ids,
                400 * DAY,
            )
        # Acts have happened in the order of their ids, those of other tests too.
        await conn.execute(
            "UPDATE audit_events SET at = at - $2::interval WHERE id <= $1", acts[0], 400 * DAY
        )

    await maintain(
        stack,
        Retention(
            payloads=None, idle_records=None, runs=90 * DAY, audit=365 * DAY, deliveries=30 * DAY
        ),
    )

    # How many is not asked: the maintenance of the stack may have been at it as well.
    left = await database.runs.list(environment.id, limit=10)
    assert [run.id for run in left] == runs[:1], "the sync's last one stays"
    assert [d.id for d in await database.deliveries.list(environment.id)] == [
        delivery.id for delivery in told[1:]
    ]
    assert [act.id for act in await database.audit.list(environment.id)] == acts[1:]
