"""Migrations: complete, repeatable, and safe when everybody starts at once."""

from __future__ import annotations

import asyncio
import json
import sys

import asyncpg
import pytest

import perdure.db.migrate
from perdure.db.migrate import migrate, pending
from perdure.errors import StartupError, UnavailableError

from .conftest import NewDatabase

PROGRAM = """
import asyncio, json, sys
from perdure.db.migrate import migrate
print(json.dumps(asyncio.run(migrate(sys.argv[1]))))
"""


async def test_an_empty_database_gets_every_revision(new_database: NewDatabase) -> None:
    url = await new_database()
    waiting = await pending(url)

    assert waiting
    assert await migrate(url) == waiting
    assert await pending(url) == []


async def test_migrating_again_does_nothing(new_database: NewDatabase) -> None:
    url = await new_database()
    await migrate(url)

    assert await migrate(url) == []


async def test_of_three_processes_that_migrate_at_once_one_does_the_work(
    new_database: NewDatabase,
) -> None:
    url = await new_database()
    waiting = await pending(url)

    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, url, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    outputs = [(await process.communicate())[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(json.loads(output) for output in outputs) == [[], [], waiting]


async def test_a_failed_revision_leaves_nothing_behind(new_database: NewDatabase) -> None:
    url = await new_database()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE runs (in_the_way int)")

        with pytest.raises(Exception, match="runs"):
            await migrate(url)

        assert await connection.fetchval("SELECT to_regclass('bundles')") is None
        waiting = await pending(url)
        assert waiting[0] == "0001"
        await connection.execute("DROP TABLE runs")
        assert await migrate(url) == waiting
    finally:
        await connection.close()


async def test_waiting_for_another_migration_ends(new_database: NewDatabase) -> None:
    url = await new_database()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", perdure.db.migrate._LOCK_ID)

        with pytest.raises(UnavailableError) as caught:
            await migrate(url, lock_timeout=0)
    finally:
        await connection.close()

    assert caught.value.code == "migration_locked"


async def test_an_old_postgres_is_named(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perdure.db.migrate, "_OLDEST_POSTGRES", 99)

    with pytest.raises(StartupError) as caught:
        await migrate(await new_database())

    assert caught.value.code == "postgres_too_old"
    assert "Postgres 99 or newer is needed" in caught.value.message


async def test_a_database_of_a_newer_version_is_left_alone(new_database: NewDatabase) -> None:
    url = await new_database()
    await migrate(url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    finally:
        await connection.close()

    for attempt in (migrate(url), pending(url)):
        with pytest.raises(StartupError) as caught:
            await attempt
        assert caught.value.code == "database_too_new"


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(UnavailableError):
        await pending("postgresql://postgres@/perdure?host=/nonexistent")
