"""A real Postgres for the tests of the data layer: one server, one migrated database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.migrate import migrate
from perdure.db.records import RecordSet
from perdure.embedded import embedded_postgres

NewDatabase = Callable[[], Awaitable[str]]


@pytest_asyncio.fixture(scope="session")
async def server_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with embedded_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def new_database(server_url: str) -> NewDatabase:
    """Make an empty database and return its URL."""

    async def create() -> str:
        name = f"test_{uuid4().hex}"
        connection = await asyncpg.connect(server_url)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return server_url.replace("/perdure?", f"/{name}?")

    return create


@pytest_asyncio.fixture(scope="session")
async def database_url(new_database: NewDatabase) -> str:
    url = await new_database()
    await migrate(url)
    return url


@pytest.fixture(scope="session")
def keyring() -> KeyRing:
    return KeyRing.parse(new_key())


@pytest_asyncio.fixture(scope="session")
async def db(database_url: str, keyring: KeyRing) -> AsyncIterator[Database]:
    async with Database.open(database_url, keyring=keyring, pool_size=12) as database:
        yield database


@pytest_asyncio.fixture
async def environment(db: Database) -> Environment:
    """An environment that no other test knows."""
    return await db.environments.ensure(f"env-{uuid4().hex}", str(uuid4()))


@pytest_asyncio.fixture
async def connection(db: Database, environment: Environment) -> Connection:
    await db.integrations.create(environment.id, "github", "github")
    saved, _ = await db.connections.save(
        environment.id, "github", "acme", {"type": "API_KEY", "apiKey": "hush"}
    )
    return saved


@pytest.fixture
def issues(connection: Connection) -> RecordSet:
    return RecordSet(connection.key, "Issue")
