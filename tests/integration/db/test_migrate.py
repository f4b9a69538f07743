"""Migrations: complete, repeatable, and safe when everybody starts at once."""

from __future__ import annotations

import asyncio
import json
import sys

import asyncpg
import pytest
from alembic.script import ScriptDirectory

import perdure.db.migrate
from perdure.crypto.keyring import KeyRing
from perdure.db.database import Database
from perdure.db.migrate import migrate, pending
from perdure.errors import StartupError, UnavailableError

from .conftest import NewDatabase

PROGRAM = """
import asyncio, json, sys
from perdure.db.migrate import migrate
print(json.dumps(asyncio.run(migrate(sys.argv[1]))))
"""


_WAITING = """
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock')
"""


_LOGGED = """
INSERT INTO environments (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'one'), (2, 'two');
INSERT INTO runs (id, workflow_id, environment_id, kind, script, started_at)
SELECT id::text, name, id, 'sync', 'issues', now() FROM environments;
INSERT INTO run_logs (run_id, at, level, message)
SELECT id, now(), 'info', 'of ' || id FROM runs ORDER BY id;
"""


async def migrate_to(revision: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring a new database to where an earlier release had it."""
    upgrade = perdure.db.migrate.command.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(
            perdure.db.migrate.command, "upgrade", lambda config, _: upgrade(config, revision)
        )
        await migrate(url)


async def until_waiting(connection: asyncpg.Connection) -> None:
    """Wait until somebody waits for a lock in this database."""
    async with asyncio.timeout(20):
        while not await connection.fetchval(_WAITING):
            await asyncio.sleep(0.01)


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


async def test_a_table_that_is_in_use_keeps_nobody_else_waiting(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await new_database()
    await migrate_to("0031", url, monkeypatch)
    waiting = await pending(url)
    user, reader = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with user.transaction():
            await user.fetch("SELECT FROM runs")
            migrating = asyncio.create_task(migrate(url))
            await until_waiting(reader)
            # Behind a migration that waits without end it would wait for the end of the user.
            await reader.fetch("SELECT FROM runs", timeout=10)
        assert await migrating == waiting
    finally:
        await user.close()
        await reader.close()


async def test_lines_that_were_logged_before_know_their_environment(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await new_database()
    await migrate_to("0035", url, monkeypatch)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_LOGGED)
        await migrate(url)

        told = await connection.fetch("SELECT message, environment_id FROM run_logs ORDER BY id")
        assert [tuple(row) for row in told] == [("of 1", 1), ("of 2", 2)]
    finally:
        await connection.close()


async def test_a_table_that_stays_in_use_ends_a_migration(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await new_database()
    await migrate_to("0031", url, monkeypatch)
    waiting = await pending(url)
    user = await asyncpg.connect(url)
    try:
        async with user.transaction():
            await user.fetch("SELECT FROM runs")
            with pytest.raises(UnavailableError) as caught:
                await migrate(url, lock_timeout=0)
    finally:
        await user.close()

    assert caught.value.code == "migration_blocked"
    assert await migrate(url) == waiting


async def test_who_writes_records_of_the_release_before_is_not_ended_by_a_migration(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await new_database()
    await migrate_to("0028", url, monkeypatch)
    writer, looker = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with writer.transaction():
            await writer.execute("LOCK TABLE records IN ROW EXCLUSIVE MODE")
            migrating = asyncio.create_task(migrate(url))
            await until_waiting(looker)
            await writer.execute("LOCK TABLE connections IN ROW EXCLUSIVE MODE")
        assert (await migrating)[0] == "0029"
    finally:
        await writer.close()
        await looker.close()


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


async def test_revisions_that_processes_need_are_those_that_are_applied(
    new_database: NewDatabase, keyring: KeyRing
) -> None:
    url = await new_database()
    async with Database.open(url, keyring=keyring, pool_size=2) as database:
        assert await database.missing_revisions() == await pending(url)
        await migrate(url)
        assert await database.missing_revisions() == []


async def test_database_of_the_next_release_lacks_nothing_of_this_one(
    new_database: NewDatabase, keyring: KeyRing
) -> None:
    url = await new_database()
    await migrate(url)
    async with Database.open(url, keyring=keyring, pool_size=2) as database:
        await database.pool.execute("UPDATE alembic_version SET version_num = '9999'")

        assert await database.missing_revisions() == []


def test_revisions_only_go_forward() -> None:
    scripts = ScriptDirectory.from_config(perdure.db.migrate._config())

    assert [
        script.revision
        for script in scripts.walk_revisions()
        if hasattr(script.module, "downgrade")
    ] == []
