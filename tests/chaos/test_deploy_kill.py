"""The worker is killed in the middle of a deploy of many connections; the deploy goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from temporalio.client import Client

from tests.support.dev import DevServer, dev_server
from tests.support.project import project

# The API answers after a minute in any case; what is asked of it here takes longer.
PATIENCE = 120


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path) as server:
        yield server


@pytest.fixture
async def database(dev: DevServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dev.info["database_url"])
    yield connection
    await connection.close()


async def until(connection: asyncpg.Connection, query: str, low: int, high: int) -> None:
    """Wait until a count is between two others, which it must not miss."""
    async with asyncio.timeout(PATIENCE):
        while not low <= (count := await connection.fetchval(query)):
            await asyncio.sleep(0.02)
    assert count <= high, "the deploy was too fast to be killed in its middle"


async def schedules(dev: DevServer, sync: str) -> int:
    client = await Client.connect(dev.info["temporal_address"])
    found = await client.list_schedules(page_size=1000)
    return len([entry.id async for entry in found if entry.id.endswith(f"/{sync}/base")])


async def settles(dev: DevServer, sync: str, count: int) -> None:
    # What the server lists is behind by a moment.
    async with asyncio.timeout(PATIENCE):
        while await schedules(dev, sync) != count:
            await asyncio.sleep(0.5)


async def deployed(dev: DevServer) -> dict[str, Any]:
    """Return what the deploy came to, however long it takes."""
    client = await Client.connect(dev.info["temporal_address"])
    async with asyncio.timeout(2 * PATIENCE):
        return await client.get_workflow_handle("deploy/dev").result()


@pytest.mark.parametrize(
    "connections",
    [
        pytest.param(300, marks=pytest.mark.timeout(480)),
        pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
async def test_deploy_goes_on_after_its_worker_was_killed(
    dev: DevServer, database: asyncpg.Connection, connections: int
) -> None:
    await dev.connect("http://127.0.0.1:1", "first")
    await database.execute(
        "INSERT INTO connections (environment_id, integration_id, connection_id, credentials)"
        " SELECT environment_id, id, 'c' || n, 'x' FROM integrations, generate_series(2, $1) n",
        connections,
    )
    low, high = connections // 3, connections - 100

    body = {"files": project()}
    first = asyncio.create_task(dev.call("POST", "/deployments", json=body, timeout=PATIENCE))
    await until(database, "SELECT count(*) FROM syncs", low, high)
    dev.kill("worker")
    made = await deployed(dev)

    assert (await first)["deployment_id"] == made["deployment_id"] == 1
    assert made["connections"] == made["created"] + made["updated"] == connections
    assert await database.fetchval("SELECT count(*) FROM syncs") == connections
    await settles(dev, "issues", connections)

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
    second = asyncio.create_task(dev.call("POST", "/deployments", json=body, timeout=PATIENCE))
    await until(database, "SELECT count(*) FROM syncs WHERE name = 'tickets'", low, high)
    dev.kill("worker")
    gone = await deployed(dev)

    assert (await second)["deployment_id"] == gone["deployment_id"] == 2
    assert await database.fetchval("SELECT count(*) FROM records") == 0
    names = await database.fetch("SELECT name, count(*) FROM syncs GROUP BY name")
    assert [tuple(row) for row in names] == [("tickets", connections)]
    await settles(dev, "issues", 0)
    await settles(dev, "tickets", connections)
    found = await database.fetch("SELECT reconciled_at IS NOT NULL FROM deployments")
    assert [row[0] for row in found] == [True, True]
