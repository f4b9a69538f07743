"""The data layer on the session's Postgres; each test has an environment of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from perdure.crypto.keyring import KeyRing, new_key
from perdure.db import record_saves
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.records import RecordSet

NewDatabase = Callable[[], Awaitable[str]]


_WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def until_somebody_waits(db: Database, *, number: int = 1) -> None:
    """Wait until so many wait for somebody else's lock."""
    async with asyncio.timeout(10):
        while await db.pool.fetchval(_WAITING) < number:
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def new_database(postgres: str) -> NewDatabase:
    """Makes an empty database and returns its URL."""

    async def create() -> str:
        name = f"test_{uuid4().hex}"
        connection = await asyncpg.connect(postgres)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return postgres.replace("/perdure?", f"/{name}?")

    return create


@pytest.fixture(scope="session")
def keyring() -> KeyRing:
    """Keys of their own, so that only these tests can read what they wrote."""
    return KeyRing.parse(new_key())


@pytest.fixture(scope="session")
async def db(postgres: str, keyring: KeyRing) -> AsyncIterator[Database]:
    """The data layer."""
    async with Database.open(postgres, keyring=keyring, pool_size=12) as database:
        yield database


@pytest.fixture(params=[False, True], ids=["as it comes", "taken for unchanged at first"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a test run as it is, and once more with every batch first sent without its payloads."""
    if not request.param:
        return

    async def save_row(*how: Any, unchanged: bool = False, **more: Any) -> asyncpg.Record | None:
        row = await record_saves.save_row(*how, **more, unchanged=True)
        return row if row is not None or unchanged else await record_saves.save_row(*how, **more)

    monkeypatch.setattr("perdure.db.record_writes.save_row", save_row)


@pytest.fixture
async def environment(db: Database) -> Environment:
    """An environment that no other test knows."""
    return await db.environments.ensure(f"env-{uuid4().hex}", str(uuid4()))


@pytest.fixture
async def connection(db: Database, environment: Environment) -> Connection:
    """Connection `acme` of integration `github`."""
    await db.integrations.create(environment.id, "github", "github")
    saved, _ = await db.connections.save(
        environment.id, "github", "acme", {"type": "API_KEY", "apiKey": "hush-hush"}
    )
    return saved


@pytest.fixture
def issues(connection: Connection) -> RecordSet:
    """An empty set of records."""
    return RecordSet(connection.key, "Issue")
