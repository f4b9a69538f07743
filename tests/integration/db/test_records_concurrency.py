"""The promise of the stream: whoever follows it misses nothing, whatever commits meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from perdure.crypto.keyring import KeyRing
from perdure.db.database import Database
from perdure.db.records import BatchResult, RecordFilter, RecordSet
from perdure.errors import UnavailableError
from perdure.records.cursor import decode_cursor
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.support.record_counts import live_count

from .conftest import until_somebody_waits

pytestmark = pytest.mark.usefixtures("either_way")

WRITES = 120


class Follower:
    """Follows a stream and keeps what it was told."""

    def __init__(self, db: Database, target: RecordSet) -> None:
        self._db = db
        self._target = target
        self._cursor: str | None = None
        self.known: dict[str, Any] = {}

    async def catch_up(self) -> int:
        page = await self._db.records.list(self._target, after_cursor=self._cursor, limit=7)
        for encoded in page.records:
            record = json.loads(encoded)
            metadata = record.pop("_nango_metadata")
            assert self._cursor is None or decode_cursor(self._cursor) < decode_cursor(
                metadata["cursor"]
            )
            self._cursor = metadata["cursor"]
            if metadata["last_action"] == RecordFilter.DELETED.upper():
                self.known.pop(record["id"], None)
            else:
                self.known[record["id"]] = record
        return len(page.records)


async def test_a_reader_misses_no_change_of_two_concurrent_writers(
    postgres: str, keyring: KeyRing, issues: RecordSet
) -> None:
    async with (
        Database.open(postgres, keyring=keyring) as one,
        Database.open(postgres, keyring=keyring) as two,
        Database.open(postgres, keyring=keyring) as reader,
    ):
        done = asyncio.Event()

        async def write(db: Database, name: str) -> None:
            chance = random.Random(name)
            for number in range(WRITES):
                own = [{"id": f"{name}-{number}-{part}"} for part in range(3)]
                shared = [{"id": f"shared-{chance.randrange(5)}", "by": f"{name}-{number}"}]
                # The pause between write and commit is where a later change could overtake.
                async with db.transaction() as conn:
                    await db.records.save(issues, prepare_batch(own + shared), conn=conn)
                    if chance.random() < 0.5:
                        await asyncio.sleep(chance.random() / 200)
                if number % 10 == 0:
                    await db.records.delete(issues, prepare_deletion(own[:1]))

        async def follow(follower: Follower) -> None:
            while not done.is_set():
                await follower.catch_up()
            while await follower.catch_up():
                pass

        followers = [Follower(reader, issues) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for follower in followers:
                group.create_task(follow(follower))
            async with asyncio.TaskGroup() as writers:
                writers.create_task(write(one, "one"))
                writers.create_task(write(two, "two"))
            done.set()

        fresh = Follower(reader, issues)
        while await fresh.catch_up():
            pass

    assert len(fresh.known) > 2 * WRITES
    for follower in followers:
        assert follower.known == fresh.known


async def test_a_record_that_two_writers_save_at_once_is_added_once(
    db: Database, issues: RecordSet
) -> None:
    batch = prepare_batch([{"id": f"r{number}"} for number in range(50)])

    results: list[BatchResult] = await asyncio.gather(
        *(db.records.save(issues, batch) for _ in range(8))
    )

    assert sorted(len(result.added) for result in results) == [0] * 7 + [50]
    assert sorted(len(result.unchanged) for result in results) == [0] + [50] * 7


async def test_whoever_waits_for_the_turn_compares_with_what_stands_then(
    db: Database, issues: RecordSet
) -> None:
    before = prepare_batch([{"id": "a", "n": 1}])
    await db.records.save(issues, before)

    async with db.transaction() as conn:
        await db.records.save(issues, prepare_batch([{"id": "a", "n": 2}]), conn=conn)
        waiting = asyncio.create_task(db.records.save(issues, before))
        await until_somebody_waits(db)
        assert not waiting.done()
    result = await waiting

    assert result.updated == ("a",)
    page = await db.records.list(issues)
    assert json.loads(page.records[0])["n"] == 1


async def test_writers_of_different_models_do_not_wait_for_each_other(
    db: Database, issues: RecordSet
) -> None:
    labels = RecordSet(issues.connection_key, "Label")

    async with db.transaction() as conn:
        await db.records.save(issues, prepare_batch([{"id": "a"}]), conn=conn)
        async with asyncio.timeout(5):
            result = await db.records.save(labels, prepare_batch([{"id": "a"}]))

    assert result.added == ("a",)


async def test_last_modified_never_runs_against_the_stream(db: Database, issues: RecordSet) -> None:
    # The second writer begins its transaction first and writes last.
    async with db.transaction() as early:
        await early.execute("SELECT now()")
        await db.records.save(issues, prepare_batch([{"id": "first"}]))
        await db.records.save(issues, prepare_batch([{"id": "second"}]), conn=early)

    page = await db.records.list(issues)

    records = [json.loads(record) for record in page.records]
    assert [record["id"] for record in records] == ["first", "second"]
    times = [record["_nango_metadata"]["last_modified_at"] for record in records]
    assert times == sorted(times)


async def test_of_two_transactions_that_wait_in_a_circle_one_may_be_tried_again(
    db: Database, issues: RecordSet
) -> None:
    labels = RecordSet(issues.connection_key, "Label")
    batch = prepare_batch([{"id": "a"}])
    both_hold_one = asyncio.Barrier(2)

    async def write(first: RecordSet, second: RecordSet) -> str:
        try:
            async with db.transaction() as conn:
                await db.records.save(first, batch, conn=conn)
                await both_hold_one.wait()
                await db.records.save(second, batch, conn=conn)
        except UnavailableError as error:
            return error.code
        return "committed"

    outcomes = await asyncio.gather(write(issues, labels), write(labels, issues))

    assert sorted(outcomes) == ["committed", "database_unavailable"]


async def test_a_connection_that_breaks_during_a_write_writes_nothing(
    db: Database, issues: RecordSet
) -> None:
    async def write_and_break() -> None:
        async with db.transaction() as conn:
            await db.records.save(issues, prepare_batch([{"id": "a"}]), conn=conn)
            pid = await conn.fetchval("SELECT pg_backend_pid()")
            await db.pool.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            await db.records.save(issues, prepare_batch([{"id": "b"}]), conn=conn)

    with pytest.raises(UnavailableError) as caught:
        await write_and_break()

    assert caught.value.code == "database_unavailable"
    assert await live_count(db, issues) == 0
