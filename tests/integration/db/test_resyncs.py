"""Resets, and records that are built anew beside those that readers see."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.records import RecordFilter, RecordSet, Writer
from perdure.db.resyncs import Begun, Kept, Swapped
from perdure.db.runs import RunStart
from perdure.db.syncs import Sync
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import shadow_variant
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.support.record_counts import live_count

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = ("Issue", "Label")


class Rebuild:
    """The sync `issues` of a connection, and the runs that start it over."""

    def __init__(self, db: Database, connection: Connection, row: Sync) -> None:
        self._db = db
        self._connection = connection
        self._row = row
        self.shown = RecordSet(connection.key, "Issue")
        self.shadow = RecordSet(connection.key, "Issue", shadow_variant("base"))

    async def begin(self, run_id: str) -> Begun:
        run = RunStart(run_id, "w", self._connection.environment_id, "sync", "issues", MOMENT)
        async with self._db.transaction() as conn:
            await self._db.runs.start(run, conn=conn)
            return await self._db.resyncs.begin(self._row, run_id, models=MODELS, conn=conn)

    async def rebuild(self, run_id: str) -> None:
        """Begin a run that empties the cache."""
        await self._db.resyncs.request(self._connection.key, "issues", "empty_cache")
        assert (await self.begin(run_id)).restart == "empty_cache"

    async def save(self, target: RecordSet, *ids: str, title: str = "a", run: str = "r") -> None:
        batch = prepare_batch([{"id": record_id, "title": title} for record_id in ids])
        await self._db.records.save(target, batch, by=Writer(run))

    async def delete(self, target: RecordSet, *ids: str) -> None:
        await self._db.records.delete(target, prepare_deletion([{"id": i} for i in ids]))

    async def swap(self, run_id: str, *, guarded: bool = True) -> Swapped:
        async with self._db.transaction() as conn:
            return await self._db.resyncs.swap(
                self._row.id,
                run_id,
                connection_key=self._connection.key,
                variant="base",
                models=MODELS,
                guarded=guarded,
                conn=conn,
            )

    async def live(self, target: RecordSet | None = None) -> dict[str, str]:
        """Title by id of the records that are there."""
        page = await self._db.records.list(target or self.shown, limit=10_000)
        found = {
            record["id"]: record["title"]
            for record in map(json.loads, page.records)
            if record["_nango_metadata"]["deleted_at"] is None
        }
        assert await live_count(self._db, target or self.shown) == len(found)
        return found


@pytest.fixture
async def sync(db: Database, connection: Connection) -> Rebuild:
    row = await db.syncs.ensure(connection.key, "issues")
    return Rebuild(db, connection, row)


async def test_reset_is_taken_by_one_run_which_may_begin_twice(
    db: Database, connection: Connection, sync: Rebuild
) -> None:
    first, second = str(uuid4()), str(uuid4())
    await db.syncs.set_last_sync_date(connection.key, "issues", MOMENT)
    await db.resyncs.request(connection.key, "issues", "reset")

    assert (await sync.begin(first)).last_sync_date is None
    assert (await sync.begin(first)).last_sync_date is None

    await db.syncs.set_last_sync_date(connection.key, "issues", MOMENT)
    assert await sync.begin(second) == Begun(MOMENT, None, False)


async def test_run_that_begins_again_still_empties_the_cache(sync: Rebuild) -> None:
    run = str(uuid4())
    await sync.rebuild(run)

    assert (await sync.begin(run)).restart == "empty_cache"


async def test_reset_does_not_take_back_that_the_cache_is_to_be_emptied(
    db: Database, connection: Connection, sync: Rebuild
) -> None:
    for restart in ("empty_cache", "reset"):
        await db.resyncs.request(connection.key, "issues", restart)

    assert (await sync.begin(str(uuid4()))).restart == "empty_cache"


async def test_unknown_sync_cannot_be_reset(db: Database, connection: Connection) -> None:
    with pytest.raises(NotFoundError) as caught:
        await db.resyncs.request(connection.key, "nothing", "reset")
    assert caught.value.code == "unknown_sync"


async def test_readers_see_the_old_records_until_the_swap(sync: Rebuild) -> None:
    run = str(uuid4())
    await sync.save(sync.shown, "1", "2", "3")
    await sync.rebuild(run)
    await sync.save(sync.shadow, "2", "3", "4", title="b")
    assert await sync.live() == {"1": "a", "2": "a", "3": "a"}

    assert await sync.swap(run) == Swapped({"Issue": 1, "Label": 0}, {})

    assert await sync.live() == {"2": "b", "3": "b", "4": "b"}
    assert await sync.live(sync.shadow) == {}


async def test_of_a_model_that_the_run_saw_nothing_of_the_records_stay_until_it_is_confirmed(
    db: Database, connection: Connection, sync: Rebuild
) -> None:
    run = str(uuid4())
    labels = RecordSet(connection.key, "Label")
    new = RecordSet(connection.key, "Label", shadow_variant("base"))
    await sync.save(sync.shown, "1", "2")
    await sync.save(labels, "1", "2")
    await sync.rebuild(run)
    await sync.save(sync.shown, "3")
    await sync.save(new, "2", title="b")

    swapped = await sync.swap(run)

    assert swapped == Swapped({"Issue": 0, "Label": 1}, {"Issue": Kept(live=3, absent=2)})
    assert await sync.live() == {"1": "a", "2": "a", "3": "a"}
    assert await sync.live(labels) == {"2": "b"}
    (held,) = await db.delete_tracks.held(connection.key, "issues")
    assert (held.held_by, held.live, held.absent) == (run, 3, 2)
    await sync.save(sync.shown, "2")
    assert await db.delete_tracks.absent(held, after_id="", limit=10) == ["1"]


async def test_without_a_guard_a_run_that_saw_nothing_leaves_nothing(sync: Rebuild) -> None:
    run = str(uuid4())
    await sync.save(sync.shown, "1", "2")
    await sync.rebuild(run)

    assert await sync.swap(run, guarded=False) == Swapped({"Issue": 2, "Label": 0}, {})

    assert await sync.live() == {}


async def test_what_is_shown_anew_is_added_in_the_order_in_which_it_was_saved(
    db: Database, sync: Rebuild
) -> None:
    run = str(uuid4())
    await sync.save(sync.shown, "1", "2")
    await sync.rebuild(run)
    for record_id in ("3", "1", "2"):
        await sync.save(sync.shadow, record_id)
    before = (await db.records.list(sync.shown, limit=1)).next_cursor

    await sync.swap(run)

    page = await db.records.list(sync.shown, after_cursor=before)
    records = [json.loads(record) for record in page.records]
    assert [record["id"] for record in records] == ["3", "1", "2"]
    assert {r["_nango_metadata"]["last_action"] for r in records} == {RecordFilter.ADDED.upper()}
    assert len({r["_nango_metadata"]["first_seen_at"] for r in records}) == 1


async def test_swap_done_again_changes_nothing(sync: Rebuild) -> None:
    run = str(uuid4())
    await sync.save(sync.shown, "1")
    await sync.rebuild(run)
    await sync.save(sync.shadow, "1", "2", title="b")
    await sync.swap(run)

    assert await sync.swap(run) == Swapped({}, {})

    assert await sync.live() == {"1": "b", "2": "b"}


async def test_of_an_id_that_somebody_else_wrote_meanwhile_the_later_write_stays(
    sync: Rebuild,
) -> None:
    run = str(uuid4())
    await sync.save(sync.shown, "before", "gone", "deleted later", "twice")
    await sync.rebuild(run)
    await sync.save(sync.shown, "before", "new", title="pushed")
    await sync.save(sync.shadow, "before", "deleted later", "twice", "only here", title="fetched")
    await sync.save(sync.shown, "twice", title="pushed")
    await sync.delete(sync.shown, "deleted later")

    assert (await sync.swap(run)).deleted["Issue"] == 1

    assert await sync.live() == {
        "before": "fetched",
        "new": "pushed",
        "twice": "pushed",
        "only here": "fetched",
    }


async def test_what_the_run_deletes_itself_keeps_its_last_payload(
    db: Database, sync: Rebuild
) -> None:
    run = str(uuid4())
    await sync.save(sync.shown, "1", "2", "3")
    await sync.delete(sync.shown, "3")
    await sync.rebuild(run)
    await sync.delete(sync.shadow, "1", "3", "unknown")

    assert (await sync.swap(run)).deleted["Issue"] == 2

    page = await db.records.list(sync.shown)
    records = {record["id"]: record for record in map(json.loads, page.records)}
    assert all(record["_nango_metadata"]["deleted_at"] for record in records.values())
    assert {record_id: record.get("title") for record_id, record in records.items()} == {
        "1": "a",
        "2": "a",
        "3": "a",
        "unknown": None,
    }


async def test_run_that_another_one_followed_cannot_show_what_it_built(sync: Rebuild) -> None:
    late, since = str(uuid4()), str(uuid4())
    await sync.save(sync.shown, "1", "2")
    await sync.rebuild(late)
    await sync.save(sync.shadow, "1", run=late)
    await sync.begin(since)

    with pytest.raises(ConflictError) as caught:
        await sync.swap(late)

    assert caught.value.code == "rebuild_replaced"
    assert await sync.live() == {"1": "a", "2": "a"}


async def test_next_run_drops_what_a_failed_one_left_and_keeps_its_own(
    db: Database, connection: Connection, sync: Rebuild
) -> None:
    failed, run = str(uuid4()), str(uuid4())
    await sync.rebuild(failed)
    await sync.save(sync.shadow, "1", "2", "3", run=failed)
    await db.resyncs.request(connection.key, "issues", "empty_cache")
    assert (await sync.begin(run)).leftovers
    await sync.save(sync.shadow, "3", title="b", run=run)

    async def drop() -> int:
        return await db.resyncs.drop_leftovers(connection.key, MODELS, "base", run_id=run, limit=1)

    assert [await drop() for _ in range(3)] == [1, 1, 0]
    assert await sync.live(sync.shadow) == {"3": "b"}


async def test_reader_who_follows_the_cursor_ends_with_the_cache(
    db: Database, connection: Connection, sync: Rebuild
) -> None:
    copy: dict[str, str] = {}
    done = asyncio.Event()

    async def follow() -> None:
        cursor: str | None = None
        while True:
            ending = done.is_set()
            page = await db.records.list(sync.shown, after_cursor=cursor, limit=7)
            for record in map(json.loads, page.records):
                cursor = record["_nango_metadata"]["cursor"]
                if record["_nango_metadata"]["deleted_at"]:
                    copy.pop(record["id"], None)
                else:
                    copy[record["id"]] = record["title"]
            if ending and not page.records:
                return

    async def push() -> None:
        for number in range(60):
            await sync.save(sync.shown, f"{number % 40}", f"p{number}", title=f"push {number}")
            if number % 5 == 0:
                await sync.delete(sync.shown, f"{number % 30}")

    async def rebuild() -> None:
        for turn in range(3):
            run = str(uuid4())
            await sync.rebuild(run)
            for start in range(0, 40, 10):
                ids = [str(number + turn) for number in range(start, start + 10)]
                await sync.save(sync.shadow, *ids, title=f"fetched {turn}", run=run)
            await sync.swap(run)

    await sync.save(sync.shown, *(str(number) for number in range(50)))
    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        async with asyncio.TaskGroup() as writers:
            writers.create_task(push())
            writers.create_task(rebuild())
        done.set()

    assert copy == await sync.live()
    assert len(copy) > 40


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_swap_of_200_000_records_takes_seconds(db: Database, sync: Rebuild) -> None:
    run = str(uuid4())
    for target, title in ((sync.shown, "a"), (sync.shadow, "b")):
        if target is sync.shadow:
            await sync.rebuild(run)
        for start in range(0, 200_000, 10_000):
            ids = [str(number) for number in range(start, start + 10_000)]
            await sync.save(target, *ids, title=title * 500)

    began = time.perf_counter()
    await sync.swap(run)
    seconds = time.perf_counter() - began

    print(f"swapped 200,000 records in {seconds:.1f} s")
    assert await live_count(db, sync.shown) == 200_000
    assert seconds < 60
