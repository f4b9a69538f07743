"""Brings the schema of a database up to date.

Any number of processes may do so at once: one works, the others wait and find nothing to do.
Each revision is a transaction of its own; revisions only ever go forward.

Who waits for a table that is in use has everybody wait who comes after. So a revision waits for
seconds only, then gives way and is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from perdure.db.errors import mapped_errors
from perdure.errors import StartupError, UnavailableError

__all__ = ["migrate", "pending"]

_OLDEST_POSTGRES = 14
_CONNECT_TIMEOUT = 10.0
_LOCK_ID = 7_235_411_902_338_175_571
_LOCK_POLL_SECONDS = 0.2

_GIVE_WAY = "SET lock_timeout = '2s'"
_GIVEN_WAY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_PAUSE_SECONDS = 1.0

_TRY_LOCK = "SELECT pg_try_advisory_lock($1)"


async def migrate(database_url: str, *, lock_timeout: float = 600.0) -> list[str]:
    """Apply every revision the database does not have yet.

    Alembic keeps its state per process: migrate one database after another, not two at once.

    Args:
        database_url: `postgresql://` URL; a Unix socket's folder goes into `?host=`.
        lock_timeout: Seconds to wait for another process that is migrating, and from then on for
            tables that are in use.

    Returns:
        Ids of the revisions that were applied, in order; empty when there was nothing to do.

    Raises:
        StartupError: The server is older than Postgres 14, or the database newer than this code.
        UnavailableError: Postgres cannot be reached, another process migrates for too long
            (`migration_locked`), or a table is in use for too long (`migration_blocked`). What
            was applied until then stays.
    """
    applied: list[str] = []

    def note(*, step: Any, **_: Any) -> None:
        applied.append(step.up_revision_id)

    def upgrade(connection: Connection) -> None:
        config = _config()
        _current(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        config.attributes["on_version_apply"] = note
        command.upgrade(config, "head")

    with mapped_errors():
        async with _lock(database_url, lock_timeout):
            give_up_at = time.monotonic() + lock_timeout
            while not await _upgraded(database_url, upgrade):
                if time.monotonic() > give_up_at:
                    msg = f"Tables have been in use for {lock_timeout:.0f} s; nothing is half done."
                    raise UnavailableError(msg, code="migration_blocked")
                await asyncio.sleep(_PAUSE_SECONDS)
    return applied


async def pending(database_url: str) -> list[str]:
    """Return the ids of the revisions that `migrate` would apply, in order.

    Raises:
        StartupError: The server is older than Postgres 14, or the database newer than this code.
        UnavailableError: Postgres cannot be reached.
    """
    scripts = ScriptDirectory.from_config(_config())
    with mapped_errors():
        async with _connection(database_url) as connection:
            revision = await connection.run_sync(_current, scripts)
    missing = scripts.iterate_revisions("head", revision or "base")
    return [script.revision for script in missing][::-1]


async def _upgraded(database_url: str, upgrade: Callable[[Connection], None]) -> bool:
    """Apply what is missing; returns False where a revision has given way."""
    async with _connection(database_url) as connection:
        try:
            await connection.run_sync(upgrade)
        except _GIVEN_WAY:
            return False
        except DBAPIError as error:
            # What goes through SQLAlchemy has asyncpg's error behind two of its own.
            if error.orig is None or not isinstance(error.orig.__cause__, _GIVEN_WAY):
                raise
            return False
    return True


def _current(connection: Connection, scripts: ScriptDirectory) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    # Alembic commits only the transactions that it began itself.
    connection.rollback()
    if revision and revision not in {script.revision for script in scripts.walk_revisions()}:
        msg = (
            f"The database stands at revision {revision}, which this version of Perdure does not "
            "know. Install the version that migrated it, or a newer one."
        )
        raise StartupError(msg, code="database_too_new")
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config


async def _connect(database_url: str) -> asyncpg.Connection[asyncpg.Record]:
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        database_url,
        timeout=_CONNECT_TIMEOUT,
        server_settings={"application_name": "perdure-migrate"},
    )
    version = connection.get_server_version()
    if version.major < _OLDEST_POSTGRES:
        await connection.close()
        msg = (
            f"Postgres {_OLDEST_POSTGRES} or newer is needed, but PERDURE_DATABASE_URL leads to "
            f"Postgres {version.major}.{version.minor}."
        )
        raise StartupError(msg, code="postgres_too_old")
    return connection


@asynccontextmanager
async def _connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        connection = await _connect(database_url)
        await connection.execute(_GIVE_WAY)
        return connection

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def _lock(database_url: str, timeout_seconds: float) -> AsyncIterator[None]:
    # Polled on a connection of its own, which holds no snapshot between polls: whoever waits
    # inside pg_advisory_lock() holds one, and CREATE INDEX CONCURRENTLY would wait for it.
    connection = await _connect(database_url)
    give_up_at = time.monotonic() + timeout_seconds
    try:
        while not await connection.fetchval(_TRY_LOCK, _LOCK_ID):
            if time.monotonic() > give_up_at:
                msg = f"Another process has been migrating for more than {timeout_seconds:.0f} s."
                raise UnavailableError(msg, code="migration_locked")
            await asyncio.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        await connection.close()
