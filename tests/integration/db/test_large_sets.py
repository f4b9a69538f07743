"""A large set that Postgres has no statistics of yet: every connection that is new has one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest

from perdure.crypto.keyring import KeyRing
from perdure.db.database import Database
from perdure.db.migrate import migrate
from perdure.db.records import RecordSet, Writer
from perdure.ids import BundleHash, shadow_variant
from perdure.records.cursor import encode_cursor
from perdure.records.prepare import prepare_batch, prepare_deletion, prepare_update

from .conftest import NewDatabase

SIZE = 20_000
BUNDLE = BundleHash("a" * 64)
RUN = Writer("run-1", sync="issues")

Work = Callable[[Database, RecordSet], Awaitable[int]]


def some(start: int, **fields: object) -> list[dict[str, object]]:
    return [{"id": f"{number}", **fields} for number in range(start, start + 1000)]


@pytest.fixture(scope="module")
async def fresh(new_database: NewDatabase, keyring: KeyRing) -> AsyncIterator[Database]:
    """A database in which nothing was ever counted."""
    url = await new_database()
    await migrate(url)
    async with Database.open(url, keyring=keyring) as database:
        await database.pool.execute("ALTER TABLE records SET (autovacuum_enabled = off)")
        await database.pool.execute(
            "INSERT INTO bundles (hash, files, config) VALUES ($1, '{}', '{}')", BUNDLE
        )
        yield database


@pytest.fixture
async def large(fresh: Database) -> RecordSet:
    """A set of many records, and notes that every second thousand was seen."""
    environment = await fresh.environments.ensure(f"e{uuid4().hex}", str(uuid4()))
    await fresh.pool.execute("UPDATE environments SET active_bundle = $1", BUNDLE)
    await fresh.integrations.create(environment.id, "github", "github")
    connection, _ = await fresh.connections.save(environment.id, "github", "acme", {"k": 1})
    await fresh.syncs.ensure(connection.key, "issues")
    target = RecordSet(connection.key, "Issue")
    for start in range(0, SIZE, 1000):
        await fresh.records.save(target, prepare_batch(some(start + 1)), by=Writer("run-0"))
    return target


async def delete_absent(db: Database, target: RecordSet) -> int:
    run_id = f"run-of-{target.connection_key}"
    await db.delete_tracks.begin_run(target.connection_key, "issues", ["Issue"], run_id)
    track = await db.delete_tracks.of_run(run_id, "Issue")
    assert track is not None
    for start in range(0, SIZE, 2000):
        await db.records.save(target, prepare_batch(some(start + 1)), by=RUN)
    await db.delete_tracks.weigh(track, share=None, run_id=run_id)
    deleted, after = 0, ""
    while ids := await db.delete_tracks.absent(track, after_id=after, limit=5_000):
        async with db.transaction() as conn:
            deleted += await db.delete_tracks.delete(track, ids, run_id=run_id, conn=conn) or 0
        after = ids[-1]
    return deleted


async def update(db: Database, target: RecordSet) -> int:
    results = [
        await db.records.update(target, prepare_update(some(start + 1, n=2)), by=RUN)
        for start in range(0, SIZE, 1000)
    ]
    return sum(len(result.updated) for result in results)


async def delete(db: Database, target: RecordSet) -> int:
    results = [
        await db.records.delete(target, prepare_deletion(some(start + 1)), by=RUN)
        for start in range(0, SIZE, 1000)
    ]
    return sum(len(result.deleted) for result in results)


async def protect(db: Database, target: RecordSet) -> int:
    by = Writer("run-1", not_after=0)
    results = [
        await db.records.save(target, prepare_batch(some(start + 1, n=3)), by=by)
        for start in range(0, SIZE, 1000)
    ]
    return sum(len(result.ignored) for result in results)


async def prune(db: Database, target: RecordSet) -> int:
    cursor = encode_cursor(await db.delete_tracks.place(target))
    pruned = 0
    while (done := await db.record_pruning.prune(target, until_cursor=cursor, limit=5_000)).count:
        pruned += done.count
    return pruned


async def erase(db: Database, target: RecordSet) -> int:
    erased = 0
    while done := await db.record_sets.erase(target, bundle=BUNDLE, keepers=[], limit=5_000):
        erased += done
    return erased


async def drop_leftovers(db: Database, target: RecordSet) -> int:
    shadow = shadow_variant(target.variant)
    await db.pool.execute(
        "UPDATE records SET variant = $2 WHERE connection_key = $1", target.connection_key, shadow
    )
    dropped = 0
    while done := await db.resyncs.drop_leftovers(
        target.connection_key, [target.model], target.variant, run_id="run-9", limit=5_000
    ):
        dropped += done
    return dropped


@pytest.mark.parametrize(
    ("work", "affected"),
    [
        (delete_absent, SIZE // 2),
        (update, SIZE),
        (delete, SIZE),
        (protect, SIZE),
        (prune, SIZE),
        (erase, SIZE),
        (drop_leftovers, SIZE),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_work_on_each_record_does_not_go_through_all_of_them(
    fresh: Database, large: RecordSet, work: Work, affected: int
) -> None:
    # Seconds at most; minutes where each record costs a look at all of them.
    async with asyncio.timeout(60):
        assert await work(fresh, large) == affected
