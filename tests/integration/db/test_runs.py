"""The history of runs, and what repeating a step does to it: nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from perdure.crypto.keyring import KeyRing
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.records import ModelCounts, RecordSet
from perdure.db.runs import LogLine, RunStart, RunStatus
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import EnvironmentId
from perdure.records.prepare import prepare_batch
from tests.support.record_counts import live_count

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
COUNTS = ModelCounts(added=1, updated=2, deleted=3, unchanged=4)


@pytest.fixture
def start(connection: Connection) -> RunStart:
    return RunStart(
        id=str(uuid4()),
        workflow_id="sync/dev/github/acme/issues/base",
        environment_id=connection.environment_id,
        kind="sync",
        script="issues",
        started_at=MOMENT,
        integration="github",
        connection_id="acme",
        connection_key=connection.key,
        bundle_hash="b" * 64,
    )


@pytest.fixture
async def run(db: Database, start: RunStart) -> RunStart:
    await db.runs.start(start)
    return start


async def test_a_run_that_started_is_running(db: Database, run: RunStart) -> None:
    found = await db.runs.get(run.environment_id, run.id)

    assert found.status is RunStatus.RUNNING
    assert (found.finished_at, found.counts, found.error) == (None, {}, None)
    assert (found.kind, found.script, found.variant) == ("sync", "issues", "base")
    assert (found.integration, found.connection_id) == ("github", "acme")
    assert (found.started_at, found.bundle_hash) == (MOMENT, "b" * 64)


async def test_starting_again_changes_nothing(db: Database, run: RunStart) -> None:
    await db.runs.finish(run.id, RunStatus.SUCCESS, finished_at=MOMENT)

    await db.runs.start(replace(run, script="another"))

    found = await db.runs.get(run.environment_id, run.id)
    assert (found.script, found.status) == ("issues", RunStatus.SUCCESS)


async def test_the_first_end_of_a_run_counts(db: Database, run: RunStart) -> None:
    error = {"code": "script_http_error", "message": "nul \0 and \ud800", "n": 2**70}

    first = await db.runs.finish(run.id, RunStatus.FAILED, finished_at=MOMENT, error=error)
    second = await db.runs.finish(run.id, RunStatus.SUCCESS, finished_at=MOMENT)

    assert first is not None
    assert (first.kind, first.status, first.finished_at) == (run.kind, RunStatus.FAILED, MOMENT)
    assert second is None
    found = await db.runs.get(run.environment_id, run.id)
    assert (found.status, found.finished_at, found.error) == (RunStatus.FAILED, MOMENT, error)


async def test_an_end_that_is_noted_while_somebody_waits_is_seen_at_once(
    db: Database, run: RunStart
) -> None:
    error = {"type": "script_error", "message": "no"}

    await db.runs.note_end(run.id, RunStatus.FAILED, finished_at=MOMENT, error=error)
    await db.runs.note_end(run.id, RunStatus.SUCCESS, finished_at=MOMENT)

    found = await db.runs.get(run.environment_id, run.id)
    assert (found.status, found.finished_at, found.error) == (RunStatus.FAILED, MOMENT, error)


async def test_what_comes_after_such_an_end_waits_for_the_disk_again(
    postgres: str, keyring: KeyRing, run: RunStart
) -> None:
    async with Database.open(postgres, keyring=keyring, pool_size=1) as own:
        await own.runs.note_end(run.id, RunStatus.SUCCESS, finished_at=MOMENT)

        assert await own.pool.fetchval("SHOW synchronous_commit") == "on"


async def test_ending_a_run_that_is_not_known_says_so(db: Database) -> None:
    assert not await db.runs.finish("unknown", RunStatus.SUCCESS, finished_at=MOMENT)


async def test_counts_add_up_by_model(db: Database, run: RunStart) -> None:
    await db.runs.add_counts(run.id, "Issue", COUNTS)
    await db.runs.add_counts(run.id, "Issue", COUNTS)
    await db.runs.add_counts(run.id, "Label's", COUNTS)

    assert (await db.runs.get(run.environment_id, run.id)).counts == {
        "Issue": {"added": 2, "updated": 4, "deleted": 6, "unchanged": 8},
        "Label's": dict(COUNTS),
    }


async def test_counts_added_at_once_are_all_counted(db: Database, run: RunStart) -> None:
    await asyncio.gather(*(db.runs.add_counts(run.id, "Issue", COUNTS) for _ in range(20)))

    found = await db.runs.get(run.environment_id, run.id)
    assert found.counts["Issue"]["added"] == 20


async def test_a_repeated_step_counts_its_changes_once(
    db: Database, run: RunStart, issues: RecordSet
) -> None:
    for _ in range(2):
        async with db.transaction() as conn:
            result = await db.records.save(issues, prepare_batch([{"id": "a"}]), conn=conn)
            await db.runs.add_counts(run.id, "Issue", result.counts, conn=conn)

    counts = (await db.runs.get(run.environment_id, run.id)).counts["Issue"]
    assert (counts["added"], counts["updated"]) == (1, 0)


async def test_a_step_that_outlives_its_run_writes_nothing(
    db: Database, run: RunStart, issues: RecordSet
) -> None:
    async def step() -> None:
        async with db.transaction() as conn:
            result = await db.records.save(issues, prepare_batch([{"id": "a"}]), conn=conn)
            await db.runs.add_counts(run.id, "Issue", result.counts, conn=conn)

    await db.runs.finish(run.id, RunStatus.CANCELLED, finished_at=MOMENT)

    with pytest.raises(ConflictError) as caught:
        await step()

    assert caught.value.code == "run_ended"
    assert await live_count(db, issues) == 0


async def test_a_run_of_another_environment_is_not_there(db: Database, run: RunStart) -> None:
    other = await db.environments.ensure(f"env-{uuid4().hex}", str(uuid4()))

    with pytest.raises(NotFoundError) as caught:
        await db.runs.get(other.id, run.id)

    assert caught.value.code == "unknown_run"


async def test_runs_are_found_by_their_ids(db: Database, start: RunStart) -> None:
    runs = [replace(start, id=str(uuid4())) for _ in range(3)]
    for run in runs:
        await db.runs.start(run)

    found = await db.runs.of_ids(start.environment_id, [runs[0].id, runs[2].id, "nothing"])

    assert {id_: run.id for id_, run in found.items()} == {run.id: run.id for run in runs[::2]}
    assert await db.runs.of_ids(EnvironmentId(0), [runs[0].id]) == {}
    assert await db.runs.of_ids(start.environment_id, []) == {}


async def test_runs_are_listed_newest_first_and_page_by_page(db: Database, start: RunStart) -> None:
    # Two runs of each moment: the order must be total, or a page would skip one of them.
    for number in range(6):
        await db.runs.start(
            replace(
                start, id=f"{start.id}-{number}", started_at=MOMENT + timedelta(days=number // 2)
            )
        )

    first = await db.runs.list(start.environment_id, limit=3)
    second = await db.runs.list(start.environment_id, limit=3, before=first[-1])
    third = await db.runs.list(start.environment_id, limit=3, before=second[-1])

    assert [run.id[-1] for run in [*first, *second]] == list("543210")
    assert third == []


async def test_runs_are_found_by_what_they_are(db: Database, start: RunStart) -> None:
    action = replace(start, id=f"{start.id}-a", kind="action", script="create", started_at=MOMENT)
    bare = replace(
        start,
        id=f"{start.id}-d",
        kind="deploy",
        integration=None,
        connection_id=None,
        connection_key=None,
        bundle_hash=None,
        script="deploy",
    )
    for one in (start, action, bare):
        await db.runs.start(one)
    await db.runs.finish(action.id, RunStatus.CANCELLED, finished_at=MOMENT)

    async def found(**conditions: str) -> set[str]:
        return {run.id for run in await db.runs.list(start.environment_id, **conditions)}

    assert await found() == {start.id, action.id, bare.id}
    assert await found(kind="action") == {action.id}
    assert await found(integration="github") == {start.id, action.id}
    assert await found(connection_id="acme", script="issues") == {start.id}
    assert await found(status=RunStatus.CANCELLED) == {action.id}
    assert await found(status=RunStatus.TIMEOUT) == set()


async def test_an_action_of_the_same_name_is_no_run_of_a_sync(
    db: Database, start: RunStart
) -> None:
    key = start.connection_key
    assert key is not None
    later = MOMENT + timedelta(hours=1)
    await db.runs.start(replace(start, id=f"{start.id}-action", kind="action", started_at=later))

    async with db.transaction() as conn:
        assert await db.runs.start_alone(start, conn=conn) is None

    found = await db.runs.latest(key, "issues")
    assert found is not None
    assert found.id == start.id


async def test_the_latest_run_of_a_sync(db: Database, start: RunStart) -> None:
    key = start.connection_key
    assert key is not None
    assert await db.runs.latest(key, "issues") is None
    later = replace(start, id=f"{start.id}-2", started_at=MOMENT + timedelta(hours=1))
    other = replace(later, id=f"{start.id}-3", variant="v", started_at=MOMENT + timedelta(hours=2))
    for one in (later, start, other):
        await db.runs.start(one)

    found = await db.runs.latest(key, "issues")

    assert found is not None
    assert found.id == later.id


async def test_runs_outlive_their_connection(
    db: Database, run: RunStart, connection: Connection
) -> None:
    await db.connections.delete(connection.environment_id, "github", "acme")

    found = await db.runs.get(run.environment_id, run.id)

    assert (found.connection_id, found.connection_key) == ("acme", connection.key)


async def test_log_lines_come_back_in_the_order_they_were_written(
    db: Database, run: RunStart
) -> None:
    lines = [
        LogLine(MOMENT, "info", "first", data={"page": 1}),
        LogLine(MOMENT - timedelta(hours=1), "warn", "second"),
        LogLine(MOMENT, "error", "third", data=[1, None]),
    ]
    await db.runs.append_logs(run.id, lines)

    first = await db.runs.logs(run.id, limit=2)
    rest = await db.runs.logs(run.id, after_id=first[-1].id)

    assert [(line.level, line.message, line.data) for line in [*first, *rest]] == [
        ("info", "first", {"page": 1}),
        ("warn", "second", None),
        ("error", "third", [1, None]),
    ]
    assert first[0].at == MOMENT


async def test_a_repeated_step_does_not_repeat_its_lines(db: Database, run: RunStart) -> None:
    lines = [LogLine(MOMENT, "info", f"line {n}", step_id=f"step/{n}") for n in range(3)]
    await db.runs.append_logs(run.id, lines[:2])

    await db.runs.append_logs(run.id, lines)
    await db.runs.append_logs(run.id, [LogLine(MOMENT, "info", "again")] * 2)

    messages = [line.message for line in await db.runs.logs(run.id)]
    assert messages == ["line 0", "line 1", "line 2", "again", "again"]


async def test_a_log_line_is_never_refused_for_what_it_says(db: Database, run: RunStart) -> None:
    odd = LogLine(MOMENT, "info", "nul \0 and \ud800", data={"x\0": "\ud800", "n": 2**99})

    await db.runs.append_logs(run.id, [odd])

    (line,) = await db.runs.logs(run.id)
    assert line.message == "nul \N{REPLACEMENT CHARACTER} and ?"
    assert line.data == odd.data


async def test_logging_nothing_is_nothing(db: Database, run: RunStart) -> None:
    await db.runs.append_logs(run.id, [])

    assert await db.runs.logs(run.id) == []


async def test_logging_for_a_run_that_is_not_known_says_so(db: Database) -> None:
    with pytest.raises(NotFoundError) as caught:
        await db.runs.append_logs("unknown", [LogLine(MOMENT, "info", "x")])

    assert caught.value.code == "unknown_run"
