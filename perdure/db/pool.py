"""The connection pool of a process, and how repositories borrow from it.

On its connections `jsonb` columns are decoded JSON, and `json` columns are the very bytes that
Postgres holds: whoever reads them decides whether to decode them at all.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from perdure.db.errors import mapped_errors
from perdure.records.canonical import to_json

__all__ = ["DbConnection", "Pool", "borrowed", "create_pool"]

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
DbConnection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
"""A connection of the pool, inside a transaction where a repository method takes one."""

_CONNECT_TIMEOUT = 10.0
_ACQUIRE_TIMEOUT = 30.0
_COMMAND_TIMEOUT = 60.0

# Compiling a statement pays where it runs for seconds; ours have milliseconds, and a batch whose
# size Postgres misjudges would pay for it each time. The arrays of a large batch are to stay in
# memory: with Postgres' own 4 MB they go to a file and back. Both are set once the connection is
# there, since PgBouncer lets in nobody who asks for them before.
_SETTINGS = """
SET jit = off;
SELECT set_config('work_mem', '16MB', false)
 WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('16MB')
"""


async def create_pool(
    database_url: str, size: int = 10, *, application_name: str = "perdure"
) -> Pool:
    """Open a pool; the first connection is made at once.

    Args:
        database_url: `postgresql://` URL; a Unix socket's folder goes into `?host=`.
        size: Most connections at a time.
        application_name: What `pg_stat_activity` shows.

    Raises:
        UnavailableError: Postgres cannot be reached.
    """
    with mapped_errors():
        return await asyncpg.create_pool(
            database_url,
            min_size=1,
            max_size=size,
            timeout=_CONNECT_TIMEOUT,
            command_timeout=_COMMAND_TIMEOUT,
            server_settings={"application_name": application_name},
            init=_prepare,
            reset=_leave_as_it_is,
        )


@asynccontextmanager
async def borrowed(pool: Pool, conn: DbConnection | None = None) -> AsyncIterator[DbConnection]:
    """Give the caller's connection, or one of the pool for the duration.

    Raises:
        UnavailableError: As `mapped_errors`, or no connection came free in time.
        InvalidInputError: As `mapped_errors`.
    """
    with mapped_errors():
        if conn is not None:
            yield conn
        else:
            async with pool.acquire(timeout=_ACQUIRE_TIMEOUT) as own:
                yield own


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await connection.execute(_SETTINGS)
    await _set_codecs(connection)


async def _set_codecs(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    # What Postgres sends and takes of either in its binary format are the bytes as they are.
    await connection.set_builtin_type_codec(
        "json", schema="pg_catalog", codec_name="bytea", format="binary"
    )
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_to_text, decoder=json.loads, format="text"
    )


async def _leave_as_it_is(_: asyncpg.Connection[asyncpg.Record]) -> None:
    """Spare a round trip at the end of each use: nobody here leaves a session other than it was.

    Settings and locks end with their transaction, and what listens has connections of its own.
    """


def _to_text(value: object) -> str:
    return to_json(value).decode()
