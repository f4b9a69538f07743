"""What was not seen is deleted; what anybody wrote or saw is not, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from perdure.db.database import Database
from perdure.db.delete_tracks import DeleteTrack, Weighed
from perdure.db.records import RecordSet, Writer
from perdure.records.prepare import prepare_batch, prepare_deletion, prepare_update
from tests.support.record_counts import live_count

pytestmark = pytest.mark.usefixtures("either_way")

SYNC = "issues"

# What this session has written and not reported yet.
ROWS_WRITTEN = "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"


def run(target: RecordSet, number: int = 1) -> Writer:
    """A run of the sync; its id is not that of any other test's."""
    return Writer(f"run-{number}-of-{target.connection_key}", sync=SYNC)


@pytest.fixture
async def issues(issues: RecordSet, db: Database) -> RecordSet:
    """Ten records, 0 to 9, of a sync."""
    await db.syncs.ensure(issues.connection_key, SYNC)
    await save(db, issues, range(10), run(issues, 0))
    return issues


async def save(
    db: Database,
    target: RecordSet,
    numbers: Sequence[int],
    by: Writer | None = None,
    n: int = 1,
) -> None:
    batch = prepare_batch([{"id": f"{i}", "n": n} for i in numbers])
    await db.records.save(target, batch, by=by or run(target))


async def begin(db: Database, target: RecordSet, number: int = 1) -> DeleteTrack:
    run_id = run(target, number).run_id or ""
    await db.delete_tracks.begin_run(target.connection_key, SYNC, [target.model], run_id)
    track = await db.delete_tracks.of_run(run_id, target.model)
    assert track is not None
    return track


async def absent(db: Database, track: DeleteTrack) -> list[str]:
    return list(await db.delete_tracks.absent(track, after_id="", limit=1000))


async def delete(db: Database, track: DeleteTrack, ids: Sequence[str]) -> int | None:
    run_id = run(track.target).run_id or ""
    async with db.transaction() as conn:
        return await db.delete_tracks.delete(track, ids, run_id=run_id, conn=conn)


async def weigh(db: Database, track: DeleteTrack, number: int = 1) -> Weighed:
    run_id = run(track.target, number).run_id or ""
    weighed = await db.delete_tracks.weigh(track, share=0.5, run_id=run_id)
    assert weighed is not None
    return weighed


async def live(db: Database, target: RecordSet) -> set[str]:
    page = await db.records.list(target, limit=1000)
    records = [json.loads(record) for record in page.records]
    return {r["id"] for r in records if r["_nango_metadata"]["deleted_at"] is None}


async def notes(db: Database, track: DeleteTrack) -> set[str]:
    rows = await db.pool.fetch("SELECT external_id FROM seen_records WHERE track_id = $1", track.id)
    return {row["external_id"] for row in rows}


async def sweep(db: Database) -> None:
    while await db.delete_tracks.sweep(limit=1000) == 1000:
        pass


async def test_what_a_run_did_not_see_is_absent(db: Database, issues: RecordSet) -> None:
    track = await begin(db, issues)
    await save(db, issues, [0, 1, 2])
    await save(db, issues, [3, 11], n=2)

    assert await absent(db, track) == ["4", "5", "6", "7", "8", "9"]
    # What changed needs no note: its place in the stream says it.
    assert await notes(db, track) == {"0", "1", "2"}


async def test_a_run_over_unchanged_records_writes_nothing_but_what_it_saw(
    db: Database, issues: RecordSet
) -> None:
    await begin(db, issues)
    await save(db, issues, [0])

    batch = prepare_batch([{"id": f"{i}", "n": 1} for i in range(10)])
    async with db.transaction() as conn:
        before = dict(await conn.fetch(ROWS_WRITTEN))
        await db.records.save(issues, batch, by=run(issues), conn=conn)
        after = dict(await conn.fetch(ROWS_WRITTEN))
        locked = await conn.fetchval(
            "SELECT count(*) FROM records WHERE connection_key = $1 AND xmax <> 0",
            issues.connection_key,
        )

    written = {name: rows - before.get(name, 0) for name, rows in after.items()}
    assert {name: rows for name, rows in written.items() if rows} == {"seen_records": 9}
    assert locked == 0


async def test_absent_records_are_deleted_with_their_payload_kept(
    db: Database, issues: RecordSet
) -> None:
    track = await begin(db, issues)
    await save(db, issues, range(8))
    place = await db.delete_tracks.place(issues)

    assert await delete(db, track, await absent(db, track)) == 2

    assert await live(db, issues) == {f"{i}" for i in range(8)}
    assert await live_count(db, issues) == 8
    page = await db.records.list(issues, limit=100)
    gone = [json.loads(record) for record in page.records][-2:]
    assert [(r["id"], r["n"], r["_nango_metadata"]["last_action"]) for r in gone] == [
        ("8", 1, "DELETED"),
        ("9", 1, "DELETED"),
    ]
    found = await db.delete_tracks.deleted_since(issues, place, run(issues).run_id or "", limit=1)
    assert found == (2, ["8"])


async def test_a_record_that_comes_back_before_its_page_is_deleted_stays(
    db: Database, issues: RecordSet
) -> None:
    track = await begin(db, issues)
    await save(db, issues, range(5))
    ids = await absent(db, track)
    hook = Writer("hook-1")
    await save(db, issues, [5], by=hook)
    await save(db, issues, [6], by=hook, n=9)
    await db.records.update(issues, prepare_update([{"id": "7"}]), by=hook)

    assert await delete(db, track, ids) == 2

    assert await live(db, issues) == {f"{i}" for i in range(8)}


async def test_whoever_waits_for_the_turn_sees_what_was_noted_meanwhile(
    db: Database, issues: RecordSet
) -> None:
    track = await begin(db, issues)
    ids = await absent(db, track)

    async with db.transaction() as conn:
        batch = prepare_batch([{"id": "0", "n": 1}])
        await db.records.save(issues, batch, by=run(issues), conn=conn)
        deleting = asyncio.create_task(delete(db, track, ids))
        await asyncio.sleep(0.2)
        assert not deleting.done()

    assert await deleting == 9
    assert await live(db, issues) == {"0"}


async def test_nothing_is_deleted_on_a_track_that_was_dropped(
    db: Database, issues: RecordSet
) -> None:
    track = await begin(db, issues)
    await save(db, issues, range(5))
    ids = await absent(db, track)
    await db.delete_tracks.drop([track.id])
    await sweep(db)

    assert await delete(db, track, ids) is None

    assert len(await live(db, issues)) == 10


async def test_a_track_cannot_be_dropped_while_a_page_is_deleted(
    db: Database, issues: RecordSet
) -> None:
    track = await begin(db, issues)

    async with db.transaction() as conn:
        await db.delete_tracks.delete(track, ["9"], run_id="run-1", conn=conn)
        dropping = asyncio.create_task(db.delete_tracks.drop([track.id]))
        await asyncio.sleep(0.2)
        assert not dropping.done()

    assert await dropping == 1


async def test_the_next_run_drops_the_tracks_of_runs_that_did_not_end(
    db: Database, issues: RecordSet
) -> None:
    old = await begin(db, issues)
    await save(db, issues, range(5))

    new = await begin(db, issues, 2)
    await sweep(db)

    assert await db.delete_tracks.by_id(old.id) is None
    assert await notes(db, old) == set()
    assert len(await absent(db, new)) == 10


async def test_a_run_that_begins_again_keeps_its_track(db: Database, issues: RecordSet) -> None:
    track = await begin(db, issues)
    await save(db, issues, range(5))

    assert await begin(db, issues) == track
    assert len(await absent(db, track)) == 5


async def test_variants_have_tracks_of_their_own(db: Database, issues: RecordSet) -> None:
    other = RecordSet(issues.connection_key, issues.model, "archived")
    await db.syncs.ensure(issues.connection_key, SYNC, "archived")
    await save(db, other, range(3))
    run_id = run(issues, 3).run_id or ""
    await db.delete_tracks.begin_run(
        issues.connection_key, SYNC, [issues.model], run_id, "archived"
    )
    track = await db.delete_tracks.of_run(run_id, issues.model)
    assert track is not None

    await save(db, other, [0])
    await save(db, issues, [1, 2])

    assert await absent(db, track) == ["1", "2"]


async def test_a_track_of_a_script_is_taken_up_by_later_runs(
    db: Database, issues: RecordSet
) -> None:
    tracks = db.delete_tracks
    assert await tracks.begin_script(issues, SYNC)
    await save(db, issues, [0, 1])

    assert not await tracks.begin_script(issues, SYNC)
    await save(db, issues, [2, 3], by=run(issues, 2))

    track = await tracks.of_script(issues, SYNC, "run-2")
    assert track is not None
    assert await absent(db, track) == ["4", "5", "6", "7", "8", "9"]


async def test_two_that_begin_at_once_have_one_track(db: Database, issues: RecordSet) -> None:
    begun = await asyncio.gather(*(db.delete_tracks.begin_script(issues, SYNC) for _ in range(6)))

    assert sorted(begun) == [False] * 5 + [True]


async def test_what_is_held_back_goes_on_taking_notes_and_is_superseded_by_the_next_decision(
    db: Database, issues: RecordSet
) -> None:
    tracks = db.delete_tracks
    track = await begin(db, issues)

    weighed = await weigh(db, track)

    assert (weighed.live, weighed.absent, weighed.held) == (10, 10, True)
    (held,) = await tracks.held(issues.connection_key, SYNC)
    assert (held.live, held.absent, held.held_by) == (10, 10, run(issues).run_id)
    assert await tracks.held_by(held.held_by or "") == [held]

    later = await begin(db, issues, 2)
    await save(db, issues, range(9), by=run(issues, 2))
    assert await absent(db, held) == ["9"], "the later run saw the others"

    weighed = await weigh(db, later, 2)
    assert (weighed.absent, weighed.held) == (1, False)
    assert await tracks.held(issues.connection_key, SYNC) == []


async def test_a_webhook_that_writes_does_not_make_an_empty_run_look_like_a_full_one(
    db: Database, issues: RecordSet
) -> None:
    track = await begin(db, issues)
    await save(db, issues, [0], by=Writer("hook-1"))

    weighed = await weigh(db, track)

    assert (weighed.absent, weighed.held) == (9, True)


async def test_records_that_a_merging_strategy_protects_were_seen(
    db: Database, issues: RecordSet
) -> None:
    place = await db.delete_tracks.place(issues)
    await save(db, issues, [3], by=Writer("hook-1"), n=5)
    track = await begin(db, issues)

    await save(db, issues, range(10), by=replace(run(issues), not_after=place))

    assert await absent(db, track) == []
    assert "3" in await notes(db, track)


async def test_deleting_a_sync_drops_its_tracks(db: Database, issues: RecordSet) -> None:
    track = await begin(db, issues)

    await db.syncs.delete(issues.connection_key, SYNC)

    assert await db.delete_tracks.by_id(track.id) is None


async def test_deleting_by_hand_and_absence_do_not_count_twice(
    db: Database, issues: RecordSet
) -> None:
    track = await begin(db, issues)
    await save(db, issues, range(5))
    await db.records.delete(issues, prepare_deletion([{"id": "5"}, {"id": "0"}]), by=run(issues))

    assert await delete(db, track, await absent(db, track)) == 4

    assert await live_count(db, issues) == len(await live(db, issues)) == 4
