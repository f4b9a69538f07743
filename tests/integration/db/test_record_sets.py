"""Whole sets of records: counted within a budget, erased in turns with those that save."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import asyncpg
import pytest

from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.records import RecordSet
from perdure.ids import BundleHash
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.support.record_counts import live_count

BUNDLE = BundleHash("ab" * 32)


@pytest.fixture
async def issues(db: Database, environment: Environment, connection: Connection) -> RecordSet:
    """Ten records of a connection whose environment has a bundle."""
    await db.bundles.put(BUNDLE, {}, {})
    await db.bundles.deploy(environment.id, BUNDLE)
    target = RecordSet(connection.key, "Issue")
    await db.records.save(target, prepare_batch([{"id": str(n)} for n in range(10)]))
    return target


async def test_records_are_erased_a_few_at_a_time(db: Database, issues: RecordSet) -> None:
    erased = [
        await db.record_sets.erase(issues, bundle=BUNDLE, keepers=["tickets"], limit=6)
        for _ in range(3)
    ]

    assert erased == [6, 4, 0]
    assert await live_count(db, issues) == 0


async def test_nothing_is_erased_after_another_deploy(
    db: Database, environment: Environment, issues: RecordSet
) -> None:
    other = BundleHash("cd" * 32)
    await db.bundles.put(other, {}, {})
    await db.bundles.deploy(environment.id, other)

    assert await db.record_sets.erase(issues, bundle=BUNDLE, keepers=[], limit=100) == 0
    assert await live_count(db, issues) == 10


async def test_what_a_keeper_may_have_saved_is_not_erased(db: Database, issues: RecordSet) -> None:
    await db.syncs.ensure(issues.connection_key, "tickets")

    assert await db.record_sets.erase(issues, bundle=BUNDLE, keepers=["tickets"], limit=100) == 0
    variant = RecordSet(issues.connection_key, "Issue", "big")
    await db.records.save(variant, prepare_batch([{"id": "1"}]))
    assert await db.record_sets.erase(variant, bundle=BUNDLE, keepers=["tickets"], limit=9) == 1


async def test_erasing_waits_for_a_save_and_heeds_its_sync(db: Database, issues: RecordSet) -> None:
    batch = prepare_batch([{"id": "0", "title": "by the new sync"}])
    async with db.transaction() as conn:
        await db.records.save(issues, batch, conn=conn)
        erasing = asyncio.create_task(
            db.record_sets.erase(issues, bundle=BUNDLE, keepers=["tickets"], limit=100)
        )
        await until_waiting(db.pool)
        await db.syncs.ensure(issues.connection_key, "tickets", conn=conn)

    assert await erasing == 0
    assert await live_count(db, issues) == 10


async def until_waiting(pool: asyncpg.Pool) -> None:
    async with asyncio.timeout(10):
        while not await pool.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ):
            await asyncio.sleep(0.01)


async def test_models_are_counted_without_the_deleted(
    db: Database, environment: Environment, issues: RecordSet
) -> None:
    await db.records.delete(issues, prepare_deletion([{"id": "3"}]))
    models = [("github", "Issue"), ("github", "Label"), ("gitlab", "Issue")]

    counts = await db.record_sets.count_by_model(
        environment.id, models, budget=timedelta(seconds=10)
    )

    assert counts == {("github", "Issue"): 9, ("github", "Label"): 0, ("gitlab", "Issue"): 0}


async def test_counting_ends_with_its_budget(
    db: Database, environment: Environment, issues: RecordSet
) -> None:
    models = [("github", name) for name in ("Issue", "Label", "Person")]
    async with db.pool.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE records IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        counts = await db.record_sets.count_by_model(
            environment.id, models, budget=timedelta(seconds=0.3)
        )
        took = time.monotonic() - began

    assert counts == dict.fromkeys(models)
    assert 0.2 < took < 8
    assert await live_count(db, issues) == 10, "the connection's own limit is not changed"
