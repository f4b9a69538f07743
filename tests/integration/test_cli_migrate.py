"""`perdure migrate` on real servers, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg
import pytest
from temporalio.client import Client

from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.database import Database
from perdure.embedded.ports import choose_ports
from perdure.errors import UnauthorizedError

KEYS = new_key()


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str


async def migrate(database_url: str, temporal: str, **settings: str) -> Ended:
    environment: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")},
        "PERDURE_DATABASE_URL": database_url,
        "PERDURE_ENCRYPTION_KEYS": KEYS,
        "TEMPORAL_ADDRESS": temporal,
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perdure", "migrate"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def empty_database(postgres: str) -> str:
    name = f"cli_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return postgres.replace("/perdure?", f"/{name}?")


async def test_everything_is_prepared_once_and_then_found_prepared(
    empty_database: str, temporal: str
) -> None:
    key = str(uuid.uuid4())

    first = await migrate(empty_database, temporal, PERDURE_SECRET_KEY=key)
    second = await migrate(empty_database, temporal, PERDURE_SECRET_KEY=key)

    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.out.startswith("Database: applied 0001")
    assert second.out.splitlines() == [
        "Database: up to date.",
        "Environment dev: has the key PERDURE_SECRET_KEY.",
        "Temporal: up to date.",
    ]
    assert key not in first.out + first.err
    client = await Client.connect(temporal)
    assert await client.count_workflows("PerdureConnection = 'x'") is not None
    async with Database.open(empty_database, keyring=KeyRing.parse(KEYS)) as database:
        assert (await database.environments.by_secret_key(key)).name == "dev"


async def test_new_secret_key_takes_the_place_of_the_old_one(
    empty_database: str, temporal: str
) -> None:
    old, new = str(uuid.uuid4()), str(uuid.uuid4())
    await migrate(empty_database, temporal, PERDURE_SECRET_KEY=old)

    await migrate(empty_database, temporal, PERDURE_SECRET_KEY=new)
    kept = await migrate(empty_database, temporal)

    assert "Environment dev: keeps its key." in kept.out
    async with Database.open(empty_database, keyring=KeyRing.parse(KEYS)) as database:
        assert (await database.environments.by_secret_key(new)).name == "dev"
        with pytest.raises(UnauthorizedError):
            await database.environments.by_secret_key(old)


async def test_database_is_prepared_while_temporal_is_away(empty_database: str) -> None:
    nowhere = f"127.0.0.1:{choose_ports({'x': 0})['x']}"

    done = await migrate(empty_database, nowhere)

    assert done.code == 0, done.err
    assert "Database: applied 0001" in done.out
    assert "Environment dev: missing" in done.out
    assert "Temporal: not prepared, run this again when it is up" in done.out
    assert nowhere in done.out


async def test_namespace_that_does_not_exist_is_named(empty_database: str, temporal: str) -> None:
    done = await migrate(empty_database, temporal, TEMPORAL_NAMESPACE="nowhere")

    assert done.code == 0, done.err
    assert "namespace 'nowhere' could not be prepared" in done.out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PERDURE_SECRET_KEY": "no-uuid"}, "PERDURE_SECRET_KEY must be a UUID"),
        ({"PERDURE_ENCRYPTION_KEYS": "k:x"}, "The key ring is unusable"),
    ],
)
async def test_wrong_setting_is_one_line(
    empty_database: str, temporal: str, settings: dict[str, str], message: str
) -> None:
    done = await migrate(empty_database, temporal, **settings)

    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in done.err


async def test_postgres_that_does_not_answer_is_one_line(temporal: str) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{choose_ports({'x': 0})['x']}/x"

    done = await migrate(nowhere, temporal)

    assert done.code == 1
    assert done.err.startswith("error: Postgres ")
