"""A read that saves past the script belongs to its newest attempt, and moves with the records."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.record_batches import ModelCounts, RecordSet, Writer
from perdure.db.run_cursors import Claim, CursorKey, RunCursor
from perdure.db.runs import RunStart, RunStatus
from perdure.errors import ConflictError, UnavailableError
from perdure.records.prepare import prepare_batch

pytestmark = pytest.mark.usefixtures("either_way")

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, SECOND = Claim(START, 1), Claim(START + timedelta(seconds=20), 2)
ADDED = ModelCounts(added=100, updated=0, deleted=0, unchanged=0)


@pytest.fixture
async def key(db: Database, environment: Environment) -> CursorKey:
    run_id = uuid4().hex
    await db.runs.start(RunStart(run_id, f"sync/{run_id}", environment.id, "sync", "issues", START))
    return CursorKey(run_id, f"sync/{run_id}", 1)


async def advance(
    db: Database, key: CursorKey, claim: Claim, state: bytes | None = b"next"
) -> RunCursor:
    async with db.transaction() as conn:
        return await db.run_cursors.advance(
            key, claim, state=state, model="Issue", counts=ADDED, conn=conn
        )


async def counted(db: Database, key: CursorKey) -> int:
    run = await db.runs.of_workflow(key.workflow_id)
    assert run is not None
    return run.counts["Issue"]["added"] if run.counts else 0


async def test_the_next_attempt_goes_on_where_the_last_one_was(
    db: Database, key: CursorKey
) -> None:
    first = await db.run_cursors.claim(key, FIRST, asked="issues")
    await advance(db, key, FIRST)

    second = await db.run_cursors.claim(key, SECOND, asked="issues")

    assert (first.state, first.pages, first.done) == (None, 0, False)
    assert (second.state, second.pages, second.counts) == (b"next", 1, ADDED)
    assert (await advance(db, key, SECOND, None)).done
    assert await counted(db, key) == 200


async def test_an_older_attempt_that_lives_on_moves_nothing(db: Database, key: CursorKey) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await db.run_cursors.claim(key, SECOND, asked="issues")
    await advance(db, key, SECOND)

    with pytest.raises(UnavailableError) as late:
        await advance(db, key, FIRST, b"back")
    with pytest.raises(UnavailableError):
        await db.run_cursors.claim(key, FIRST, asked="issues")

    assert late.value.code == "attempt_superseded"
    assert (await db.run_cursors.claim(key, SECOND, asked="issues")).state == b"next"
    assert await counted(db, key) == 100, "what it counted is undone as well"


async def test_a_newer_attempt_waits_for_the_page_that_is_being_saved(
    db: Database, key: CursorKey
) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    async with db.transaction() as conn:
        await db.run_cursors.advance(
            key, FIRST, state=b"next", model="Issue", counts=ADDED, conn=conn
        )
        claiming = asyncio.create_task(db.run_cursors.claim(key, SECOND, asked="issues"))
        await asyncio.sleep(0.3)
        assert not claiming.done()

    assert (await claiming).pages == 1


async def test_attempts_are_counted_from_the_last_page_on(db: Database, key: CursorKey) -> None:
    claims = [Claim(START + timedelta(seconds=n), n) for n in range(1, 5)]
    found = [await db.run_cursors.claim(key, claim, asked="issues") for claim in claims[:3]]
    moved = await advance(db, key, claims[2])
    last = await db.run_cursors.claim(key, claims[3], asked="issues")

    assert [*(cursor.tries for cursor in found), moved.tries, last.tries] == [1, 2, 3, 0, 1]


async def test_another_read_begins_at_its_first_page(db: Database, key: CursorKey) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await advance(db, key, FIRST, None)

    other = await db.run_cursors.claim(key, SECOND, asked="labels")

    assert (other.state, other.done, other.pages) == (None, False, 0)
    assert other.counts["added"] == 0


async def test_a_run_that_has_ended_is_not_written_to(db: Database, key: CursorKey) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await db.runs.finish(key.run_id, RunStatus.CANCELLED, finished_at=START)

    with pytest.raises(ConflictError) as ended:
        await advance(db, key, FIRST)

    assert ended.value.code == "run_ended"
    assert (await db.run_cursors.claim(key, FIRST, asked="issues")).pages == 0


async def test_where_a_read_is_stands_encrypted(db: Database, key: CursorKey) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await advance(db, key, FIRST, b"https://api.test/?token=hush")

    row = await db.pool.fetchrow("SELECT * FROM run_cursors WHERE run_id = $1", key.run_id)

    assert row is not None
    assert b"hush" not in row["state"]
    assert "hush" not in str({k: v for k, v in row.items() if k != "state"})


async def save_page(
    db: Database, target: RecordSet, key: CursorKey, claim: Claim, *ids: str
) -> RunCursor:
    """Save records and move the cursor behind them, in one statement."""
    batch = prepare_batch([{"id": each} for each in ids])
    move = db.run_cursors.move(key, claim, state=b"next")
    _, moved = await db.records.save_page(target, batch, move, by=Writer(key.run_id, "issues"))
    return RunCursor(b"next", False, moved.pages, 0, moved.counts)


async def test_records_cursor_and_counts_move_in_one_statement(
    db: Database, key: CursorKey, issues: RecordSet
) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await save_page(db, issues, key, FIRST, "1", "2")
    moved = await save_page(db, issues, key, FIRST, "2", "3")

    assert (moved.pages, moved.counts["added"], moved.counts["unchanged"]) == (2, 3, 1)
    assert await db.run_cursors.claim(key, SECOND, asked="issues") == replace(moved, tries=1)
    run = await db.runs.of_workflow(key.workflow_id)
    assert run is not None
    assert run.counts == {"Issue": moved.counts}


async def test_a_page_of_an_older_attempt_is_undone_with_its_records(
    db: Database, key: CursorKey, issues: RecordSet
) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await db.run_cursors.claim(key, SECOND, asked="issues")

    with pytest.raises(UnavailableError) as late:
        await save_page(db, issues, key, FIRST, "1")

    assert late.value.code == "attempt_superseded"
    assert not (await db.records.list(issues)).records
    assert await counted(db, key) == 0


async def test_a_page_of_a_run_that_has_ended_is_undone_with_its_records(
    db: Database, key: CursorKey, issues: RecordSet
) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await db.runs.finish(key.run_id, RunStatus.CANCELLED, finished_at=START)

    with pytest.raises(ConflictError) as late:
        await save_page(db, issues, key, FIRST, "1")

    assert late.value.code == "run_ended"
    assert not (await db.records.list(issues)).records


@pytest.mark.parametrize("too_late", ["attempt_superseded", "run_ended"])
async def test_a_page_that_changes_nothing_counts_nothing_where_it_comes_too_late(
    db: Database, key: CursorKey, issues: RecordSet, too_late: str
) -> None:
    await db.run_cursors.claim(key, FIRST, asked="issues")
    await save_page(db, issues, key, FIRST, "1")
    if too_late == "run_ended":
        await db.runs.finish(key.run_id, RunStatus.CANCELLED, finished_at=START)
    else:
        await db.run_cursors.claim(key, SECOND, asked="issues")

    with pytest.raises(ConflictError if too_late == "run_ended" else UnavailableError) as late:
        await save_page(db, issues, key, FIRST, "1")

    assert late.value.code == too_late
    run = await db.runs.of_workflow(key.workflow_id)
    assert run is not None
    assert run.counts["Issue"]["unchanged"] == 0


async def test_reads_of_one_run_that_save_at_the_same_time_are_all_counted(
    db: Database, key: CursorKey, issues: RecordSet
) -> None:
    keys = [replace(key, number=number) for number in range(1, 6)]
    for each in keys:
        await db.run_cursors.claim(each, FIRST, asked="issues")

    async def read(each: CursorKey) -> None:
        variant = replace(issues, variant=f"part-{each.number}")
        for page in range(10):
            await save_page(db, variant, each, FIRST, f"{page}-a", f"{page}-b")

    await asyncio.gather(*map(read, keys))

    assert await counted(db, key) == 100
