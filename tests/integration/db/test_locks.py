"""Locks of scripts: one holder at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

from perdure.db.database import Database
from perdure.db.environments import Environment

HOUR = timedelta(hours=1)


async def test_of_many_who_come_at_once_one_gets_the_lock(
    db: Database, environment: Environment
) -> None:
    for round_ in range(5):
        key = f"key {round_}"
        got = await asyncio.gather(
            *(db.locks.acquire(environment.id, key, f"run {n}", HOUR) for n in range(12))
        )

        assert sum(got) == 1
        assert await db.locks.release(environment.id, key, f"run {got.index(True)}")


async def test_lock_whose_time_is_over_is_free_for_others(
    db: Database, environment: Environment
) -> None:
    assert await db.locks.acquire(environment.id, "key", "first", timedelta(milliseconds=1))
    await db.pool.execute("SELECT pg_sleep(0.01)")

    assert await db.locks.acquire(environment.id, "key", "second", HOUR)
    assert not await db.locks.acquire(environment.id, "key", "first", HOUR)
    assert not await db.locks.release(environment.id, "key", "first")


async def test_holder_takes_it_for_longer(db: Database, environment: Environment) -> None:
    assert await db.locks.acquire(environment.id, "key", "first", timedelta(milliseconds=1))
    assert await db.locks.acquire(environment.id, "key", "first", HOUR)
    await db.pool.execute("SELECT pg_sleep(0.01)")

    assert not await db.locks.acquire(environment.id, "key", "second", HOUR)


async def test_environments_do_not_share_locks(db: Database, environment: Environment) -> None:
    other = await db.environments.ensure(f"{environment.name}-2", str(uuid4()))

    assert await db.locks.acquire(environment.id, "key", "first", HOUR)
    assert await db.locks.acquire(other.id, "key", "second", HOUR)


async def test_everything_of_a_run_is_released(db: Database, environment: Environment) -> None:
    for key in ("a", "b"):
        await db.locks.acquire(environment.id, key, "first of all", HOUR)
    await db.locks.acquire(environment.id, "c", "second of all", HOUR)

    await db.locks.release_all("first of all")

    assert await db.locks.acquire(environment.id, "a", "third", HOUR)
    assert await db.locks.acquire(environment.id, "b", "third", HOUR)
    assert not await db.locks.acquire(environment.id, "c", "third", HOUR)
