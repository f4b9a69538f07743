"""The worker is killed in the middle of a deploy of many connections; the deploy goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from temporalio.client import Client

from tests.support.dev import DevServer, dev_server
from tests.support.project import project

CONNECTIONS = 300


@pytest.fixture(scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path_factory.mktemp("dev")) as server:
        yield server


@pytest.fixture
async def database(dev: DevServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dev.info["database_url"])
    yield connection
    await connection.close()


async def until(connection: asyncpg.Connection, query: str, low: int, high: int) -> None:
    """Wait until a count is between two others, which it must not miss."""
    async with asyncio.timeout(60):
        while not low <= (count := await connection.fetchval(query)):
            await asyncio.sleep(0.02)
    assert count <= high, "the deploy was too fast to be killed in its middle"


async def schedules(dev: DevServer, sync: str) -> int:
    client = await Client.connect(dev.info["temporal_address"])
    found = await client.list_schedules(page_size=1000)
    return len([entry.id async for entry in found if entry.id.endswith(f"/{sync}/base")])


async def settles(dev: DevServer, sync: str, count: int) -> None:
    # What the server lists is behind by a moment.
    async with asyncio.timeout(60):
        while await schedules(dev, sync) != count:
            await asyncio.sleep(0.5)


@pytest.mark.timeout(180)
async def test_deploy_goes_on_after_its_worker_was_killed(
    dev: DevServer, database: asyncpg.Connection
) -> None:
    await dev.connect("http://127.0.0.1:1", "first")
    await database.execute(
        "INSERT INTO connections (environment_id, integration_id, connection_id, credentials)"
        " SELECT environment_id, id, 'c' || n, 'x' FROM integrations, generate_series(2, $1) n",
        CONNECTIONS,
    )

    first = asyncio.create_task(dev.deploy(project()))
    await until(database, "SELECT count(*) FROM syncs", 100, CONNECTIONS - 100)
    dev.kill("worker")
    made = await first

    assert made["deployment_id"] == 1
    assert sum(made["schedules"].values()) == CONNECTIONS
    assert await database.fetchval("SELECT count(*) FROM syncs") == CONNECTIONS
    await settles(dev, "issues", CONNECTIONS)

    await database.execute(
        "INSERT INTO records (connection_key, model, variant, external_id, payload, payload_hash,"
        " first_seen_at, last_modified_at, change_seq)"
        " SELECT id, 'Issue', 'base', n::text, '{}', decode(repeat('00', 16), 'hex'),"
        " now(), now(), nextval('record_changes') FROM connections, generate_series(1, 20) n"
    )
    renamed = project()
    renamed["tracker/syncs/tickets.py"] = renamed.pop("tracker/syncs/issues.py")
    renamed["nango.yaml"] = (
        renamed["nango.yaml"].replace("issues:", "tickets:").replace("/issues", "/tickets")
    )
    body = {"files": renamed, "allow_destructive": True}
    second = asyncio.create_task(dev.call("POST", "/deployments", json=body))
    new = "SELECT count(*) FROM syncs WHERE name = 'tickets'"
    await until(database, new, 100, CONNECTIONS - 100)
    dev.kill("worker")
    gone = await second

    assert gone["deployment_id"] == 2
    assert await database.fetchval("SELECT count(*) FROM records") == 0
    names = await database.fetch("SELECT name, count(*) FROM syncs GROUP BY name")
    assert [tuple(row) for row in names] == [("tickets", CONNECTIONS)]
    await settles(dev, "issues", 0)
    await settles(dev, "tickets", CONNECTIONS)
    assert await database.fetchval("SELECT count(*) FROM deployments") == 2
