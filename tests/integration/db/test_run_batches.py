"""A batch is written by its newest attempt, before those that come after it, and counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.record_batches import BatchNote, RecordSet, Writer
from perdure.db.run_cursors import Claim, CursorKey
from perdure.db.runs import RunStart, RunStatus
from perdure.errors import ConflictError, UnavailableError
from perdure.records.prepare import prepare_batch
from tests.integration.db.conftest import until_somebody_waits
from tests.support.record_counts import live_count

pytestmark = pytest.mark.usefixtures("either_way")

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, SECOND, THIRD = (Claim(START + timedelta(seconds=6 * n), n) for n in range(1, 4))


@pytest.fixture
async def run_id(db: Database, environment: Environment) -> str:
    run_id = uuid4().hex
    await db.runs.start(RunStart(run_id, f"sync/{run_id}", environment.id, "sync", "issues", START))
    return run_id


@dataclass(frozen=True)
class Noted:
    """A batch of the run's workflow, or of one of its items."""

    run_id: str
    name: str
    claim: Claim
    workflow: str = "sync"

    @property
    def note(self) -> BatchNote:
        workflow_id = f"{self.workflow}/{self.run_id}"
        return BatchNote(workflow_id, self.name, self.claim.at, self.claim.attempt)


Write = Callable[[RecordSet, Noted, str], Awaitable[None]]


@pytest.fixture(params=["at once", "in several statements"])
def write(request: pytest.FixtureRequest, db: Database) -> Write:
    """Does what the step of a batch does; its one record is `a`."""

    async def at_once(issues: RecordSet, batch: Noted, title: str) -> None:
        prepared = prepare_batch([{"id": "a", "title": title}])
        await db.records.save_batch(issues, prepared, batch.note, by=Writer(batch.run_id))

    async def in_several(issues: RecordSet, batch: Noted, title: str) -> None:
        prepared = prepare_batch([{"id": "a", "title": title}])
        async with db.transaction() as conn:
            result = await db.records.save(issues, prepared, by=Writer(batch.run_id), conn=conn)
            await db.run_batches.note(
                batch.run_id, batch.note, issues.model, result.counts, conn=conn
            )

    return at_once if request.param == "at once" else in_several


async def titles(db: Database, issues: RecordSet) -> list[bytes]:
    page = await db.records.list(issues, limit=10)
    return [record[record.index(b'"title"') :].split(b'"')[3] for record in page.records]


async def counted(db: Database, run_id: str) -> dict[str, int]:
    run = await db.runs.of_workflow(f"sync/{run_id}")
    assert run is not None
    return dict(run.counts["Issue"])


async def test_an_attempt_that_lives_on_writes_nothing_over_the_batches_behind_it(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await write(issues, Noted(run_id, "one", SECOND), "one")
    await write(issues, Noted(run_id, "two", THIRD), "two")

    with pytest.raises(UnavailableError) as late:
        await write(issues, Noted(run_id, "one", FIRST), "one")

    assert late.value.code == "attempt_superseded"
    assert await titles(db, issues) == [b"two"]
    assert await counted(db, run_id) == {"added": 1, "updated": 1, "deleted": 0, "unchanged": 0}


async def test_an_attempt_that_lives_on_counts_nothing_though_it_changes_nothing(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await write(issues, Noted(run_id, "one", SECOND), "the same")

    with pytest.raises(UnavailableError) as late:
        await write(issues, Noted(run_id, "zero", FIRST), "the same")

    assert late.value.code == "attempt_superseded"
    assert await counted(db, run_id) == {"added": 1, "updated": 0, "deleted": 0, "unchanged": 0}


async def test_an_attempt_that_meets_a_newer_one_writing_waits_and_writes_nothing(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await write(issues, Noted(run_id, "zero", FIRST), "zero")
    prepared = prepare_batch([{"id": "a", "title": "newer"}])
    newer = Noted(run_id, "one", THIRD).note
    async with db.transaction() as conn:
        result = await db.records.save(issues, prepared, conn=conn)
        await db.run_batches.note(run_id, newer, "Issue", result.counts, conn=conn)
        older = asyncio.create_task(write(issues, Noted(run_id, "one", SECOND), "older"))
        await until_somebody_waits(db)

    with pytest.raises(UnavailableError):
        await older

    assert await titles(db, issues) == [b"newer"]


async def test_a_batch_whose_answer_was_lost_is_written_again_and_counted_once(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await write(issues, Noted(run_id, "one", FIRST), "one")
    await write(issues, Noted(run_id, "one", SECOND), "one")

    assert await counted(db, run_id) == {"added": 1, "updated": 0, "deleted": 0, "unchanged": 0}


async def test_batches_of_other_items_do_not_hold_a_batch_up_and_do_not_make_it_count_twice(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await write(issues, Noted(run_id, "own", SECOND), "own")
    for number in range(40):
        name = f"item {number}"
        await write(issues, Noted(run_id, name, FIRST, f"item-{number}"), f"{number}")
    await write(issues, Noted(run_id, "own", THIRD), "39")

    found = await counted(db, run_id)
    assert (found["added"], found["updated"], found["unchanged"]) == (1, 40, 0)


async def test_a_batch_that_waits_for_its_own_earlier_attempt_is_counted_once(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await write(issues, Noted(run_id, "zero", FIRST), "zero")
    prepared = prepare_batch([{"id": "a", "title": "one"}])
    first = Noted(run_id, "one", SECOND).note
    async with db.transaction() as conn:
        result = await db.records.save(issues, prepared, conn=conn)
        await db.run_batches.note(run_id, first, "Issue", result.counts, conn=conn)
        second = asyncio.create_task(write(issues, Noted(run_id, "one", THIRD), "one"))
        await until_somebody_waits(db)
    await second

    assert await counted(db, run_id) == {"added": 1, "updated": 1, "deleted": 0, "unchanged": 0}


async def test_batches_that_meet_at_their_run_are_all_counted(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    others = replace(issues, model="Label")
    prepared = prepare_batch([{"id": "a"}])
    async with db.transaction() as conn:
        result = await db.records.save(others, prepared, conn=conn)
        item = Noted(run_id, "one", FIRST, "item").note
        await db.run_batches.note(run_id, item, "Label", result.counts, conn=conn)
        own = asyncio.create_task(write(issues, Noted(run_id, "one", FIRST), "one"))
        await until_somebody_waits(db)
    await own

    run = await db.runs.of_workflow(f"sync/{run_id}")
    assert run is not None
    assert {model: counts["added"] for model, counts in run.counts.items()} == {
        "Issue": 1,
        "Label": 1,
    }


async def test_what_an_earlier_release_has_counted_is_not_counted_again(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await db.pool.execute("UPDATE runs SET counted = '{one}' WHERE id = $1", run_id)
    await write(issues, Noted(run_id, "one", FIRST), "one")

    run = await db.runs.of_workflow(f"sync/{run_id}")
    assert run is not None
    assert run.counts == {}


async def test_a_batch_of_a_run_that_has_ended_is_not_written(
    db: Database, issues: RecordSet, run_id: str, write: Write
) -> None:
    await db.runs.finish(run_id, RunStatus.CANCELLED, finished_at=START)

    for unknown in (run_id, "unknown"):
        with pytest.raises(ConflictError) as ended:
            await write(issues, Noted(unknown, "one", FIRST), "one")
        assert ended.value.code == "run_ended"

    assert await live_count(db, issues) == 0


@pytest.mark.parametrize(("status", "kept"), [(RunStatus.SUCCESS, 0), (RunStatus.FAILED, 1)])
async def test_notes_are_kept_only_for_runs_that_may_be_retried(
    db: Database, issues: RecordSet, run_id: str, write: Write, status: RunStatus, kept: int
) -> None:
    await write(issues, Noted(run_id, "first", FIRST), "written")
    await db.run_cursors.claim(CursorKey(run_id, f"sync/{run_id}", 1), FIRST, asked="issues")

    await db.runs.finish(run_id, status, finished_at=START)

    row = await db.pool.fetchrow(
        "SELECT (SELECT count(*) FROM run_batches WHERE run_id = $1) AS batches,"
        " (SELECT count(*) FROM run_cursors WHERE run_id = $1) AS reads",
        run_id,
    )
    assert row is not None
    assert (row["batches"], row["reads"]) == (kept, kept)
