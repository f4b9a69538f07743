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
from structlog.testing import capture_logs
from temporalio.client import Client
from temporalio.service import OperatorService, RPCError, RPCStatusCode

from config.settings import Settings
from perdure.app.cli.migration import bring_up_to_date
from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.database import Database
from perdure.db.migrate import pending
from perdure.embedded.ports import choose_ports
from perdure.errors import StartupError, UnauthorizedError
from perdure.temporal.client import register_search_attributes
from tests.support.deaf_ears import way_to
from tests.support.deploys import eventually
from tests.support.stack import namespaced, settings_for

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


async def prepared(settings: Settings, patience: float) -> list[str]:
    return [done async for done in bring_up_to_date(settings, patience)]


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


async def test_migration_fails_where_temporal_is_away_and_says_what_stands(
    empty_database: str,
) -> None:
    nowhere = f"127.0.0.1:{choose_ports({'x': 0})['x']}"

    with pytest.raises(StartupError) as failed:
        await prepared(settings_for(empty_database, nowhere), patience=0.1)

    assert await pending(empty_database) == []
    assert failed.value.code == "temporal_not_prepared"
    message = failed.value.message
    assert message.startswith("The database is up to date, but Temporal is not: ")
    assert nowhere in message
    assert "search attributes (PerdureEnvironment, " in message
    assert "Run `perdure migrate` again" in message


async def test_temporal_that_is_just_starting_is_waited_for(
    empty_database: str, temporal: str
) -> None:
    async with way_to(temporal) as way:
        way.is_closed = True
        with capture_logs() as logs:
            settings = settings_for(empty_database, way.address)
            preparing = asyncio.create_task(prepared(settings, patience=30))

            async def is_waited_for() -> bool:
                return "waiting_for_temporal" in [line["event"] for line in logs]

            await eventually(is_waited_for)
            way.is_closed = False
            told = await preparing

    assert told[-1].startswith(("Temporal: up to date", "Temporal: registered"))


async def test_namespace_that_does_not_exist_is_named_and_fails_the_migration(
    empty_database: str, temporal: str
) -> None:
    done = await migrate(empty_database, temporal, TEMPORAL_NAMESPACE="nowhere")

    assert done.code == 1
    assert done.out.startswith("Database: applied 0001")
    error = done.err.splitlines()[-1]
    assert error.startswith("error: The database is up to date")
    assert "namespace 'nowhere' could not be prepared (not_found)" in error


async def test_attributes_that_only_others_may_list_are_asked_for(
    settings: Settings, temporal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await namespaced(settings)
    there, lacking = [
        await Client.connect(temporal, namespace=name)
        for name in ("default", own.temporal_namespace)
    ]
    await register_search_attributes(there)

    async def refuse(*_: object, **__: object) -> None:
        raise RPCError("Request unauthorized.", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(OperatorService, "list_search_attributes", refuse)

    assert await register_search_attributes(there) == []
    with pytest.raises(RPCError, match="unauthorized"):
        await register_search_attributes(lacking)


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
