"""A backup of the database alone brings everything back that matters, beside an empty Temporal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from werkzeug import Response

from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.crypto.keyring import new_key
from perdure.db.connections import Connection
from perdure.db.migrate import migrate
from perdure.db.records import RecordSet
from perdure.db.runs import RunStatus
from perdure.embedded import embedded_postgres
from perdure.embedded.postgres import installed_binaries
from perdure.errors import PerdureError
from perdure.temporal.client import register_search_attributes
from perdure.temporal.names import WorkflowType
from tests.support.deploys import eventually
from tests.support.processes import perdure_process
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.source import Source, issues
from tests.support.stack import Stack, namespaced

# As docs/operations.md has it.
LEAP = "SELECT setval('record_changes', nextval('record_changes') + 1000000000)"


async def postgres_program(name: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(installed_binaries() / name), *arguments, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 0, told.decode()


@pytest.fixture
async def own(settings: Settings) -> Settings:
    """Settings of a database and a namespace that nobody else uses."""
    url = settings.database_url.get_secret_value()
    name = f"backed_up_{uuid4().hex}"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    apart = await namespaced(settings)
    own_url = url.replace("/perdure?", f"/{name}?")
    await migrate(own_url)
    return apart.model_copy(update={"database_url": SecretStr(own_url)})


@pytest.fixture
async def new_server(tmp_path: Path) -> AsyncIterator[str]:
    """URL of an empty database on a server of its own."""
    async with embedded_postgres(tmp_path / "new") as url:
        yield url


async def read(container: Container, connection: Connection, cursor: str | None) -> tuple[int, str]:
    """Read on from a cursor; returns how many records there were, and the next cursor."""
    page = await container.database.records.list(
        RecordSet(connection.key, "Issue"), after_cursor=cursor, limit=10_000
    )
    return len(page.records), page.cursors[-1] if page.cursors else cursor or ""


async def maintained(container: Container) -> None:
    """Have the maintenance run once, as its schedule would within five minutes."""
    schedule = container.temporal.get_schedule_handle(WorkflowType.MAINTENANCE)

    async def is_there() -> bool:
        try:
            await schedule.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    # A worker that has started may be about to make it.
    await eventually(is_there, 60)
    before = (await schedule.describe()).info.num_actions

    async def ran() -> bool:
        info = (await schedule.describe()).info
        if info.running_actions:
            return False
        if info.num_actions == before:
            # Again and again: what comes while one runs is skipped.
            await schedule.trigger()
            await asyncio.sleep(1)
            return False
        return True

    await eventually(ran, 60)


async def tried(container: Container) -> bool:
    """Say whether a delivery has been attempted in vain."""
    found = await container.database.pool.fetchval(
        "SELECT count(*) FROM webhook_deliveries WHERE status = 'pending' AND attempts > 0"
    )
    return bool(found)


async def age(container: Container, run: WorkflowHandle[Any, Any]) -> None:
    """Let it all have happened a while ago: the maintenance leaves to others what is young."""
    pool = container.database.pool
    await pool.execute(
        "UPDATE runs SET started_at = started_at - interval '5 minutes' WHERE id = $1",
        run.result_run_id,
    )
    await pool.execute(
        "UPDATE webhook_deliveries SET last_attempt_at = last_attempt_at - interval '2 hours'"
    )


@pytest.mark.timeout(240)
async def test_restored_database_goes_on_beside_an_empty_temporal(
    own: Settings, new_server: str, source: Source, httpserver: HTTPServer, tmp_path: Path
) -> None:
    receiver = Receiver(httpserver)
    receiver.before = lambda _: Response(status=503)
    dump, hold, asked = tmp_path / "perdure.dump", threading.Event(), threading.Event()

    def wait(_: int) -> None:
        asked.set()
        hold.wait(60)

    async with open_container(own, name="perdure-tests") as old:
        await register_search_attributes(old.temporal)
        stack = await Stack.create(old)
        await stack.deploy(project(auto_start=True))
        connection = await stack.connect(source.url)
        await old.database.webhook_settings.change(
            stack.environment.id, {"primary_url": receiver.url}
        )
        async with perdure_process("worker", own, tmp_path / "old.log"):
            await stack.run_sync(connection)
            count, cursor = await read(old, connection, None)
            assert count == 250
            # The application is away, so its webhook waits for another attempt.
            await eventually(lambda: tried(old), 30)
            # As when it was made: what comes back is the schedule of a sync that there is.
            await old.database.syncs.ensure(connection.key, "issues")

            source.before = wait
            under_way = await stack.start_sync(connection)
            assert await asyncio.to_thread(asked.wait, 30)
            await postgres_program(
                "pg_dump",
                "--format=custom",
                f"--file={dump}",
                own.database_url.get_secret_value(),
            )
            # What is not in the backup, though somebody has read it.
            await stack.save(stack.record_set(connection), {"id": "251", "title": "Early"})
            count, further = await read(old, connection, cursor)
            assert (count, further > cursor) == (1, True)
    hold.set()
    receiver.before = lambda _: None
    source.before = lambda _: None
    source.records = issues(253)

    await postgres_program("pg_restore", "--no-owner", f"--dbname={new_server}", str(dump))
    await postgres_program("psql", "--quiet", "--output=/dev/null", "-c", LEAP, new_server)
    empty = await namespaced(
        own.model_copy(update={"database_url": SecretStr(new_server)}),
        encryption_keys=own.encryption_keys,
    )
    async with (
        open_container(empty, name="perdure-tests") as new,
        perdure_process("worker", empty, tmp_path / "new.log") as worker,
    ):
        await register_search_attributes(new.temporal)
        await worker.says("worker_started")
        restored = Stack(new, stack.environment, stack.secret_key)
        assert await read(new, connection, cursor) == (0, cursor)
        await age(new, under_way)
        await maintained(new)

        # Its schedule is there again, and what was due has run with the credentials of old.
        assert await new.schedules.status(restored.sync_input(connection)) is not None

        async def went_on() -> bool:
            return (await read(new, connection, cursor))[0] == 3

        await eventually(went_on, 60)
        assert (await read(new, connection, further))[0] == 3
        assert (await read(new, connection, None))[0] == 253
        assert source.authorization == {"Bearer key-of-acme"}

        # What waited for another attempt is tried again.
        async def told_of_250() -> bool:
            return any(told.payload["responseResults"]["added"] == 250 for told in receiver.taken)

        await eventually(told_of_250, 60)

        # What Temporal does not know any more is not shown as under way for ever.
        run = await restored.run(under_way)
        assert (run.status, (run.error or {}).get("type")) == (RunStatus.FAILED, "run_lost")

    without_keys = empty.model_copy(update={"encryption_keys": SecretStr(new_key())})
    async with open_container(without_keys, name="perdure-tests") as locked:
        assert (await read(locked, connection, None))[0] == 253
        with pytest.raises(PerdureError, match="key"):
            await locked.database.connections.credentials(connection)
