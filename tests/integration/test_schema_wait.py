"""Processes on a database that is older or newer than they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from config.settings import Settings
from perdure.app.schema_wait import until_migrated
from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.database import Database
from perdure.db.migrate import migrate
from perdure.errors import StartupError
from tests.support.processes import perdure_process


@pytest.fixture
async def empty(settings: Settings) -> Settings:
    """Settings of processes on a database without tables."""
    url = settings.database_url.get_secret_value()
    name = f"empty_{uuid4().hex}"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    own = SecretStr(url.replace("/perdure?", f"/{name}?"))
    return settings.model_copy(update={"database_url": own})


@pytest.fixture
async def database(empty: Settings) -> AsyncIterator[Database]:
    """That database."""
    url = empty.database_url.get_secret_value()
    async with Database.open(url, keyring=KeyRing.parse(new_key()), pool_size=2) as database:
        yield database


async def test_processes_wait_for_the_migration_and_then_begin(
    empty: Settings, tmp_path: Path
) -> None:
    async with (
        perdure_process("api", empty, tmp_path / "api.log") as api,
        perdure_process("worker", empty, tmp_path / "worker.log") as worker,
    ):
        await api.says("waiting_for_migration")
        await worker.says("waiting_for_migration")
        await migrate(empty.database_url.get_secret_value())

        await worker.says("worker_started")
        await api.answers("/health/ready")


async def test_process_that_waits_ends_when_it_is_told_to(empty: Settings, tmp_path: Path) -> None:
    async with (
        perdure_process("api", empty, tmp_path / "api.log") as api,
        perdure_process("worker", empty, tmp_path / "worker.log") as worker,
    ):
        for process in (api, worker):
            await process.says("waiting_for_migration")
            process.signal()
            # By its own hand: the first process of a container is not ended by a signal.
            assert await process.ended() == 143


async def test_process_ends_where_nobody_migrates(database: Database) -> None:
    with pytest.raises(StartupError) as caught:
        await until_migrated(database, patience=0)

    assert caught.value.code == "database_behind"
    assert "0001" in caught.value.message
    assert "perdure migrate" in caught.value.message


async def test_process_of_the_release_before_goes_on_beside_a_newer_database(
    database: Database, empty: Settings
) -> None:
    await migrate(empty.database_url.get_secret_value())
    await database.pool.execute("UPDATE alembic_version SET version_num = '9999'")

    await until_migrated(database, patience=0)
