"""Everything encrypted is encrypted anew, while all goes on, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import httpx
import pytest
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec

from activities.key_rotation import RotationInput
from api.app import create_app
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.worker import workers
from perdure.clock import utcnow
from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.migrate import migrate
from perdure.db.record_batches import ModelCounts
from perdure.db.run_cursors import Claim, CursorKey
from perdure.db.runs import RunStart
from perdure.db.webhook_arrivals import NewEvent
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.api.calls import client_of, error_of
from tests.support.stack import Stack, namespaced

CONNECTIONS = 300


@pytest.fixture
async def apart(settings: Settings) -> Settings:
    """A database and a namespace of their own."""
    url = settings.database_url.get_secret_value()
    name = f"rotation_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
    finally:
        await admin.close()
    own = url.replace("/perdure?", f"/{name}?")
    await migrate(own)
    changed = await namespaced(settings)
    return changed.model_copy(update={"database_url": SecretStr(own), "encrypt_payloads": "all"})


def with_ring(settings: Settings, *keys: str) -> Settings:
    return settings.model_copy(update={"encryption_keys": SecretStr(",".join(keys))})


@asynccontextmanager
async def opened(settings: Settings, *, working: bool = False) -> AsyncIterator[Container]:
    async with AsyncExitStack() as stack:
        container = await stack.enter_async_context(open_container(settings, name="rotation"))
        await register_search_attributes(container.temporal)
        if working:
            guard = AddressGuard(allow_private_networks=True)
            transport = await stack.enter_async_context(HttpTransport(guard))
            for worker in workers(container, transport):
                await stack.enter_async_context(worker)
        yield container


async def fill(container: Container, connections: int = CONNECTIONS) -> Stack:
    """Write something into everything that is encrypted."""
    stack = await Stack.create(container)
    database, environment = container.database, stack.environment.id
    await database.integrations.create(
        environment, "tracker", "generic-api-key", credentials={"client_secret": "hush-hush-client"}
    )
    for number in range(connections):
        await database.connections.save(
            environment,
            "tracker",
            f"c{number}",
            {"type": "API_KEY", "apiKey": f"hush-hush-{number}"},
        )
    integration = await database.integrations.get(environment, "tracker")
    for number in range(30):
        await database.variables.set(environment, f"V{number}", f"hush-hush-{number}")
        await database.webhook_arrivals.add(
            NewEvent(
                id=uuid.uuid4(),
                environment_id=environment,
                environment=stack.environment.name,
                integration_id=integration.id,
                integration="tracker",
                delivery_id=None,
                types=("x",),
                headers={},
                query={},
                body=b"hush-hush",
                tasks=(),
            )
        )
    await database.webhook_settings.signing_key(environment)
    token, _ = await database.connect_sessions.create(environment, {"tags": {}})
    session = await database.connect_sessions.by_token(token)
    await database.oauth_states.create(
        "state",
        session_id=session.id,
        integration_id=integration.id,
        flow={"verifier": "hush-hush"},
    )
    await begin_read(stack)
    (sealed,) = await container.temporal.data_converter.payload_codec.encode(
        [Payload(metadata={"encoding": b"json/plain"}, data=b"9" * 50_000)]
    )
    await database.blobs.put_many({"large": sealed.SerializeToString(deterministic=True)})
    await container.temporal.create_schedule(
        f"held-{stack.environment.name}",
        Schedule(
            action=ScheduleActionStartWorkflow(
                WorkflowType.MAINTENANCE,
                "hush-hush-argument",
                id="never",
                task_queue=TaskQueue.ACTIONS,
                static_summary="hush-hush-summary",
            ),
            spec=ScheduleSpec(),
        ),
    )
    return stack


async def begin_read(stack: Stack) -> None:
    """Leave a read that saves past its script at its second page."""
    database = stack.container.database
    run = RunStart("reading", "reading", stack.environment.id, "sync", "issues", utcnow())
    await database.runs.start(run)
    key, claim = CursorKey(run.id, run.workflow_id, 1), Claim(utcnow(), 1)
    await database.run_cursors.claim(key, claim, asked="pages")
    counts = ModelCounts(added=1, updated=0, deleted=0, unchanged=0)
    async with database.transaction() as conn:
        await database.run_cursors.advance(
            key, claim, state=b"hush", model="Issue", counts=counts, conn=conn
        )


async def in_use(container: Container) -> set[str]:
    counts = await container.database.key_rotations.counts()
    return {key_id for found in counts.values() for key_id in found}


async def schedule_bytes(container: Container, stack: Stack) -> bytes:
    handle = container.temporal.get_schedule_handle(f"held-{stack.environment.name}")
    return (await handle.describe()).raw_description.SerializeToString()


async def rotated(api: httpx.AsyncClient) -> dict:
    answer = await api.post("/encryption-keys/rotate")
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(60):
        while True:
            status = (await api.get("/encryption-keys")).json()
            if status["rotation"]["finished_at"]:
                return status
            await asyncio.sleep(0.1)


async def test_everything_is_readable_with_the_new_key_alone(apart: Settings) -> None:
    old, new = new_key(), new_key()
    old_id, new_id = (KeyRing.parse(key).primary for key in (old, new))
    async with opened(with_ring(apart, old)) as container:
        stack = await fill(container)
        before = await container.database.key_rotations.counts()
        assert {name for name, found in before.items() if found} == set(before)
        assert old_id.encode() in await schedule_bytes(container, stack)

    async with opened(with_ring(apart, new, old), working=True) as container:
        async with client_of(create_app(container), stack.secret_key) as api:
            status = await rotated(api)
            again = await rotated(api)

        assert await in_use(container) == {new_id}
        # Columns, and argument and summary of the schedule.
        expected = sum(sum(found.values()) for found in before.values()) + 1
        assert status["rotation"]["rewritten"] == expected
        assert again["rotation"]["rewritten"] == 0
        assert [key["id"] for key in status["keys"]] == [new_id, old_id]
        sealed = await schedule_bytes(container, stack)
        assert old_id.encode() not in sealed
        assert new_id.encode() in sealed

    async with opened(with_ring(apart, new)) as container:
        database, environment = container.database, stack.environment.id
        for number in (0, CONNECTIONS - 1):
            connection = await database.connections.get(environment, "tracker", f"c{number}")
            credentials = await database.connections.credentials(connection)
            assert credentials["apiKey"] == f"hush-hush-{number}"
        assert await database.integrations.credentials(environment, "tracker") == {
            "client_secret": "hush-hush-client"
        }
        assert (await database.variables.all(environment))["V7"] == "hush-hush-7"
        assert await database.webhook_settings.signing_key(environment)
        blob = Payload.FromString((await database.blobs.get_many(["large"]))["large"])
        codec = container.temporal.data_converter.payload_codec
        assert (await codec.decode([blob]))[0].data == b"9" * 50_000


async def test_what_is_written_meanwhile_is_never_lost(apart: Settings) -> None:
    old, new = new_key(), new_key()
    async with opened(with_ring(apart, old)) as container:
        stack = await fill(container)

    async with opened(with_ring(apart, new, old), working=True) as container:
        database, environment = container.database, stack.environment.id
        over = asyncio.Event()
        written: dict[str, str] = {}

        async def write(first: int) -> None:
            turn = 0
            while not over.is_set():
                turn += 1
                for number in range(first, CONNECTIONS, 20):
                    name, value = f"c{number}", f"turn-{turn}"
                    await database.connections.save(
                        environment, "tracker", name, {"type": "API_KEY", "apiKey": value}
                    )
                    written[name] = value

        async with asyncio.TaskGroup() as writers:
            for first in range(4):
                writers.create_task(write(first))
            handle = await container.temporal.start_workflow(
                WorkflowType.KEY_ROTATION,
                RotationInput(
                    key_id=KeyRing.parse(new).primary, rows=7, slice_seconds=0.3, pause_seconds=0.01
                ),
                id="key-rotation",
                task_queue=TaskQueue.ACTIONS,
            )
            await handle.result()
            over.set()

        assert len(written) == 4 * CONNECTIONS // 20
        for name, value in written.items():
            connection = await database.connections.get(environment, "tracker", name)
            assert (await database.connections.credentials(connection))["apiKey"] == value
        assert await in_use(container) == {KeyRing.parse(new).primary}


@pytest.mark.slow
async def test_a_worker_that_is_killed_in_the_middle_costs_nothing(apart: Settings) -> None:
    old, new = new_key(), new_key()
    async with opened(with_ring(apart, old)) as container:
        stack = await fill(container)
    both = with_ring(apart, new, old)

    async with opened(both) as container:
        first = await start_worker(both)
        try:
            handle = await container.temporal.start_workflow(
                WorkflowType.KEY_ROTATION,
                RotationInput(
                    key_id=KeyRing.parse(new).primary, rows=5, slice_seconds=1, pause_seconds=0.1
                ),
                id="key-rotation",
                task_queue=TaskQueue.ACTIONS,
            )
            await until_some_are_rewritten(container)
        finally:
            os.kill(first.pid, signal.SIGKILL)
            await first.wait()
        half = await container.database.key_rotations.counts()
        second = await start_worker(both)
        try:
            async with asyncio.timeout(90):
                await handle.result()
        finally:
            second.terminate()
            await second.wait()

        assert len(half["connections.credentials"]) == 2
        assert await in_use(container) == {KeyRing.parse(new).primary}
        found = await container.database.key_rotations.latest()
        assert found is not None
        total = await container.database.key_rotations.counts()
        # Nothing twice: what a killed step had committed, the next attempt finds done.
        assert found.rewritten == sum(sum(counts.values()) for counts in total.values()) + 1
        for number in range(0, CONNECTIONS, 37):
            connection = await container.database.connections.get(
                stack.environment.id, "tracker", f"c{number}"
            )
            credentials = await container.database.connections.credentials(connection)
            assert credentials["apiKey"] == f"hush-hush-{number}"


async def until_some_are_rewritten(container: Container) -> None:
    async with asyncio.timeout(60):
        while True:
            counts = (await container.database.key_rotations.counts())["connections.credentials"]
            if len(counts) == 2:
                return
            await asyncio.sleep(0.02)


async def start_worker(settings: Settings) -> asyncio.subprocess.Process:
    """Start a worker as users do."""
    keys = settings.encryption_keys
    assert keys is not None
    environment = {
        **os.environ,
        "PERDURE_DATABASE_URL": settings.database_url.get_secret_value(),
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
        "PERDURE_ENCRYPTION_KEYS": keys.get_secret_value(),
        "PERDURE_ENCRYPT_PAYLOADS": settings.encrypt_payloads,
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "perdure",
        "worker",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def test_a_rotation_goes_on_after_each_row_of_each_column(apart: Settings) -> None:
    old, new = new_key(), new_key()
    async with opened(with_ring(apart, old)) as container:
        await fill(container, connections=3)

    async with opened(with_ring(apart, new, old), working=True) as container:
        # Each step takes one row, so that the next one begins behind it.
        handle = await container.temporal.start_workflow(
            WorkflowType.KEY_ROTATION,
            RotationInput(key_id=KeyRing.parse(new).primary, rows=1, slice_seconds=0),
            id="key-rotation",
            task_queue=TaskQueue.ACTIONS,
        )
        async with asyncio.timeout(120):
            await handle.result()

        assert await in_use(container) == {KeyRing.parse(new).primary}


async def test_processes_with_different_rings_are_told_apart(apart: Settings) -> None:
    old, new = new_key(), new_key()
    async with (
        opened(with_ring(apart, old, new), working=True),
        opened(with_ring(apart, new, old)) as container,
    ):
        stack = await Stack.create(container)
        async with client_of(create_app(container), stack.secret_key) as api:
            answer = await api.post("/encryption-keys/rotate")

    assert error_of(answer) == (409, "key_rings_differ")


@pytest.mark.timeout(300)
async def test_a_key_is_retired_when_no_history_can_need_it(apart: Settings) -> None:
    old, new = new_key(), new_key()
    old_id = KeyRing.parse(old).primary

    def of(status: dict, key_id: str) -> dict:
        return next(key for key in status["keys"] if key["id"] == key_id)

    async with opened(with_ring(apart, old), working=True) as container:
        stack = await fill(container, connections=3)
        held = await container.temporal.start_workflow(
            WorkflowType.MAINTENANCE, id="older", task_queue="nobody"
        )
    async with (
        opened(with_ring(apart, new, old), working=True) as container,
        client_of(create_app(container), stack.secret_key) as api,
    ):
        before = (await api.get("/encryption-keys")).json()
        assert of(before, old_id)["values"]["connections.credentials"] == 3
        status = await rotated(api)
        async with asyncio.timeout(30):
            while (status := (await api.get("/encryption-keys")).json())["histories"][
                "running"
            ] != 1:
                await asyncio.sleep(0.1)
        assert status["histories"]["older"] == 1
        assert status["histories"]["gone_at"] is None
        assert not of(status, old_id)["can_be_retired"]

        await container.temporal.workflow_service.delete_workflow_execution(
            deletion_of(container, held.id)
        )
        async with asyncio.timeout(90):
            while not of((await api.get("/encryption-keys")).json(), old_id)["can_be_retired"]:
                await asyncio.sleep(0.2)


def deletion_of(container: Container, workflow_id: str) -> object:
    from temporalio.api.common.v1 import WorkflowExecution
    from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest

    return DeleteWorkflowExecutionRequest(
        namespace=container.temporal.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id),
    )
