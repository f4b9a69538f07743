"""Blobs, and the data layer as a whole: opening it, transactions, a server that is away."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from temporalio.api.common.v1 import Payload

from perdure.crypto.keyring import KeyRing
from perdure.db.blobs import BlobStore
from perdure.db.database import Database
from perdure.db.errors import mapped_errors
from perdure.errors import StartupError, UnavailableError
from perdure.temporal.codec import EncryptionCodec

from .conftest import NewDatabase


async def test_blobs_come_back_by_key(db: Database) -> None:
    one, two = uuid4().hex, uuid4().hex
    blobs = {one: b"\0\xff" * 500_000, two: b""}

    await db.blobs.put_many(blobs)

    assert await db.blobs.get_many([one, two, "missing"]) == blobs
    assert await db.blobs.get_many([]) == {}


PAGES = b"\n".join(b'{"id":"%d","title":"Issue %d"}' % (n, n) for n in range(10_000))


async def stored(db: Database, key: str) -> bytes:
    found: bytes = await db.pool.fetchval("SELECT data FROM payload_blobs WHERE key = $1", key)
    return found


async def test_compressed_blob_takes_a_fraction_of_its_room(db: Database) -> None:
    key = uuid4().hex

    await BlobStore(db.pool, compress=True).put_many({key: PAGES})

    assert len(await stored(db, key)) < len(PAGES) / 4
    assert await db.blobs.get_many([key]) == {key: PAGES}


async def test_blob_is_compressed_only_where_that_was_asked_for(db: Database) -> None:
    """Releases before could not read it."""
    key = uuid4().hex

    await db.blobs.put_many({key: PAGES})

    assert await stored(db, key) == PAGES
    assert await BlobStore(db.pool, compress=True).get_many([key]) == {key: PAGES}


async def test_ciphertext_is_stored_as_it_is(db: Database) -> None:
    """Keys are rotated by statements that read where it begins."""
    key, payload = uuid4().hex, Payload(data=PAGES)
    codec = EncryptionCodec(KeyRing([("k1", os.urandom(32))]), scope="all")
    (sealed,) = await codec.encode([payload])

    await BlobStore(db.pool, compress=True).put_many({key: sealed.SerializeToString()})

    assert await stored(db, key) == sealed.SerializeToString()


async def test_a_blob_that_is_there_is_left_alone(db: Database) -> None:
    key = uuid4().hex
    await db.blobs.put_many({key: b"first"})

    await db.blobs.put_many({key: b"second"})
    await db.blobs.put_many({})

    assert await db.blobs.get_many([key]) == {key: b"first"}


async def test_many_may_store_the_same_blobs_at_once(db: Database) -> None:
    blobs = {uuid4().hex: b"data" for _ in range(50)}
    backwards = dict(reversed(blobs.items()))

    await asyncio.gather(*(db.blobs.put_many(b) for b in [blobs, backwards] * 6))

    assert await db.blobs.get_many(list(blobs)) == blobs


async def test_a_server_that_is_away_is_unavailable(keyring: KeyRing) -> None:
    with pytest.raises(UnavailableError) as caught:
        async with Database.open("postgresql://postgres@/x?host=/nonexistent", keyring=keyring):
            pass

    assert caught.value.code == "database_unavailable"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("mysql://u:hush@h/d", "invalid_database_url"),
        ("postgresql://postgres@/missing?host={host}", "database_refused"),
        ("postgresql://nobody:hush@/perdure?host={host}", "database_refused"),
    ],
)
async def test_a_url_that_leads_nowhere_is_a_matter_of_set_up(
    postgres: str, keyring: KeyRing, url: str, code: str
) -> None:
    with pytest.raises(StartupError) as caught:
        async with Database.open(url.format(host=postgres.partition("host=")[2]), keyring=keyring):
            pass

    assert caught.value.code == code
    assert "hush-hush" not in caught.value.message


async def test_a_closed_pool_is_unavailable(postgres: str, keyring: KeyRing) -> None:
    async with Database.open(postgres, keyring=keyring) as database:
        assert await database.missing_revisions() == []

    with pytest.raises(UnavailableError):
        await database.missing_revisions()


async def test_a_lost_connection_is_replaced(postgres: str, keyring: KeyRing, db: Database) -> None:
    async with Database.open(postgres, keyring=keyring, pool_size=2) as database:
        pid = await database.pool.fetchval("SELECT pg_backend_pid()")
        await db.pool.execute("SELECT pg_terminate_backend($1, 5000)", pid)

        assert await database.missing_revisions() == []


async def test_sessions_do_not_compile_their_statements(postgres: str, keyring: KeyRing) -> None:
    async with Database.open(postgres, keyring=keyring) as database:
        for _ in range(2):
            assert await database.pool.fetchval("SHOW jit") == "off"


@pytest.mark.parametrize(("of_the_server", "ours"), [("4MB", "16MB"), ("64MB", "64MB")])
async def test_sessions_have_memory_for_a_large_batch(
    new_database: NewDatabase, keyring: KeyRing, db: Database, of_the_server: str, ours: str
) -> None:
    url = await new_database()
    name = urlsplit(url).path.removeprefix("/")
    await db.pool.execute(f"ALTER DATABASE {name} SET work_mem = '{of_the_server}'")
    async with Database.open(url, keyring=keyring, pool_size=1) as database:
        assert await database.pool.fetchval("SHOW work_mem") == ours


async def test_a_transaction_that_was_left_open_ends_with_its_turn(
    postgres: str, keyring: KeyRing
) -> None:
    async with Database.open(postgres, keyring=keyring, pool_size=2) as database:
        async with database.pool.acquire() as conn:
            await conn.execute("BEGIN")
            await conn.execute("SELECT pg_advisory_xact_lock(1)")

        async with database.pool.acquire() as other, database.pool.acquire() as another:
            for conn in (other, another):
                assert await conn.fetchval("SELECT pg_try_advisory_xact_lock(1)")


async def test_a_fault_of_ours_is_not_taken_for_an_outage(db: Database) -> None:
    async def ask(query: str, *arguments: object) -> None:
        async with db.transaction() as conn:
            await conn.execute(query, *arguments)

    with pytest.raises(asyncpg.PostgresSyntaxError):
        await ask("SELEC")
    with pytest.raises(asyncpg.DataError):
        await ask("SELECT $1::int", "no number")


def test_connection_that_postgres_is_just_ending_is_no_fault_of_ours() -> None:
    text = "cannot switch to state 12; another operation (2) is in progress"
    with pytest.raises(UnavailableError) as caught, mapped_errors():
        raise asyncpg.InternalClientError(text)

    assert caught.value.code == "database_unavailable"
