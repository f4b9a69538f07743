"""No record outlives its connection, however writing and deleting meet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.records import RecordSet
from perdure.errors import NotFoundError, UnavailableError
from perdure.records.prepare import prepare_batch, prepare_deletion

from .conftest import until_somebody_waits

pytestmark = pytest.mark.usefixtures("either_way")

Write = Callable[[Database, RecordSet], Awaitable[object]]


async def save(db: Database, target: RecordSet) -> object:
    return await db.records.save(target, prepare_batch([{"id": "new"}]))


async def delete(db: Database, target: RecordSet) -> object:
    return await db.records.delete(target, prepare_deletion([{"id": "unknown"}]))


async def left(db: Database, *keys: int) -> int:
    count: int = await db.pool.fetchval(
        "SELECT count(*) FROM records WHERE connection_key = ANY ($1::bigint[])", keys
    )
    return count


async def test_a_deletion_waits_for_a_save_and_takes_along_what_it_saved(
    db: Database, connection: Connection, issues: RecordSet
) -> None:
    async with db.transaction() as conn:
        await db.records.save(issues, prepare_batch([{"id": "a"}]), conn=conn)
        deleting = asyncio.create_task(
            db.connections.delete(connection.environment_id, "github", "acme")
        )
        await until_somebody_waits(db)
        assert not deleting.done()
    await deleting

    assert await left(db, connection.key) == 0


@pytest.mark.parametrize("write", [save, delete])
async def test_who_waits_for_a_deletion_writes_nothing(
    db: Database, connection: Connection, issues: RecordSet, write: Write
) -> None:
    async with db.transaction() as conn:
        await conn.execute("DELETE FROM connections WHERE id = $1", connection.key)
        writing = asyncio.create_task(write(db, issues))
        await until_somebody_waits(db)

    with pytest.raises(NotFoundError) as caught:
        await writing
    assert caught.value.code == "unknown_connection"
    assert await left(db, connection.key) == 0


async def test_a_deletion_that_is_taken_back_harms_no_save(
    db: Database, connection: Connection, issues: RecordSet
) -> None:
    async with db.pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute("DELETE FROM connections WHERE id = $1", connection.key)
        writing = asyncio.create_task(save(db, issues))
        await until_somebody_waits(db)
        await transaction.rollback()
    await writing

    assert await left(db, connection.key) == 1


async def test_records_go_with_the_integration_and_with_the_environment(
    db: Database, environment: Environment, connection: Connection, issues: RecordSet
) -> None:
    await save(db, issues)
    await db.integrations.delete(environment.id, "github")
    assert await left(db, connection.key) == 0

    await db.integrations.create(environment.id, "github", "github")
    again, _ = await db.connections.save(environment.id, "github", "acme", {"type": "BASIC"})
    await save(db, RecordSet(again.key, "Issue"))
    await db.pool.execute("DELETE FROM environments WHERE id = $1", environment.id)
    assert await left(db, again.key) == 0


async def prune(db: Database, target: RecordSet) -> object:
    return await db.record_pruning.prune_older(target, utcnow(), limit=100)


async def drop(db: Database, target: RecordSet) -> object:
    return await db.record_pruning.drop(target, utcnow(), limit=100)


async def erase(db: Database, target: RecordSet) -> object:
    return await db.record_sets.erase(target, bundle=None, keepers=(), limit=100)


@pytest.mark.parametrize("remove", [prune, drop, erase])
async def test_a_deletion_and_who_gives_up_records_do_not_wait_for_each_other(
    db: Database, connection: Connection, issues: RecordSet, remove: Write
) -> None:
    await save(db, issues)
    async with db.transaction() as conn:
        await conn.execute(
            "SELECT FROM record_counts WHERE connection_key = $1 FOR UPDATE", connection.key
        )
        deleting = asyncio.create_task(
            db.connections.delete(connection.environment_id, "github", "acme")
        )
        await until_somebody_waits(db)
        removing = asyncio.create_task(remove(db, issues))
        await until_somebody_waits(db, number=2)

    await asyncio.gather(deleting, removing)
    assert await left(db, connection.key) == 0


async def test_among_many_that_write_and_delete_at_once_no_record_is_left_over(
    db: Database, environment: Environment
) -> None:
    await db.integrations.create(environment.id, "github", "github")
    keys: list[int] = []
    refused = 0

    async def live_and_die(name: str, chance: random.Random) -> None:
        nonlocal refused
        connection, _ = await db.connections.save(environment.id, "github", name, {"k": 1})
        keys.append(connection.key)

        async def write(model: str) -> None:
            nonlocal refused
            target = RecordSet(connection.key, model)
            for number in range(1000):
                try:
                    if number % 5 == 4:
                        deletion = prepare_deletion([{"id": f"{number}-unknown"}])
                        await db.records.delete(target, deletion)
                    else:
                        records = [{"id": f"{number}-{part}"} for part in range(5)]
                        await db.records.save(target, prepare_batch(records))
                except NotFoundError:
                    refused += 1
                    return
                except UnavailableError:
                    continue

        async def end() -> None:
            await asyncio.sleep(chance.random() / 5)
            await db.connections.delete(environment.id, "github", name)

        async with asyncio.TaskGroup() as group:
            for model in ("Issue", "Label"):
                group.create_task(write(model))
            group.create_task(end())

    chance = random.Random(7)
    await asyncio.gather(*(live_and_die(uuid4().hex, chance) for _ in range(12)))

    assert refused == 24
    assert await left(db, *keys) == 0
