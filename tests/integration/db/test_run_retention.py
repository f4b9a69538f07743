"""Which runs are removed after a while, and what is kept however old it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.run_retention import OldRun
from perdure.db.runs import LogLine, RunStart, RunStatus
from perdure.errors import NotFoundError
from perdure.ids import action_workflow_id

DAY = timedelta(days=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEFORE = NOW - 90 * DAY


@pytest.fixture
def ran(db: Database, connection: Connection) -> Ran:
    return Ran(db, connection)


class Ran:
    """Writes down runs of a connection."""

    def __init__(self, db: Database, connection: Connection) -> None:
        self._db = db
        self._connection = connection

    async def ago(
        self,
        days: int,
        *,
        kind: str = "action",
        script: str = "echo",
        status: RunStatus = RunStatus.SUCCESS,
        took: timedelta = timedelta(minutes=1),
        workflow_id: str | None = None,
    ) -> str:
        """Note a run that began some days ago, with a log; returns its id."""
        run = RunStart(
            id=str(uuid4()),
            workflow_id=workflow_id or f"{kind}/{uuid4()}",
            environment_id=self._connection.environment_id,
            kind=kind,
            script=script,
            started_at=NOW - days * DAY,
            integration="github",
            connection_id="acme",
            connection_key=self._connection.key,
        )
        await self._db.runs.start(run)
        await self._db.runs.append_logs(
            run.id, [LogLine(run.started_at, "info", f"line {n}") for n in range(5)]
        )
        if status is not RunStatus.RUNNING:
            await self._db.runs.finish(run.id, status, finished_at=run.started_at + took)
        return run.id

    async def dropped(self) -> set[str]:
        """Remove what is due, two runs at a time; returns the ids."""
        retention, gone, after = self._db.run_retention, set[str](), None
        environment = self._connection.environment_id
        while True:
            old = await retention.old(environment, BEFORE, after=after, limit=2)
            if old.last is None:
                return gone
            while await retention.drop_logs(old.due, BEFORE, limit=3):
                pass
            assert await retention.drop(old.due, BEFORE) == len(old.due)
            gone.update(old.due)
            after = old.last


async def test_runs_that_ended_long_ago_go_with_their_logs(
    db: Database, ran: Ran, connection: Connection
) -> None:
    old = {await ran.ago(days) for days in (91, 120, 120, 400)}
    young = await ran.ago(89)
    ended_lately = await ran.ago(95, took=10 * DAY)
    goes_on = await ran.ago(200, status=RunStatus.RUNNING)

    assert await ran.dropped() == old

    for run_id in (young, ended_lately, goes_on):
        assert (await db.runs.get(connection.environment_id, run_id)).id == run_id
        assert len(await db.runs.logs(run_id)) == 5
    for run_id in old:
        with pytest.raises(NotFoundError) as refused:
            await db.runs.get(connection.environment_id, run_id)
        assert refused.value.code == "unknown_run"
        assert not await db.runs.logs(run_id)
    assert await ran.dropped() == set()


async def test_the_last_run_of_a_sync_stays_and_what_was_cancelled_since(
    db: Database, ran: Ran, connection: Connection
) -> None:
    await db.syncs.ensure(connection.key, "issues")
    earlier = {
        await ran.ago(300, kind="sync", script="issues"),
        await ran.ago(260, kind="sync", script="issues", status=RunStatus.CANCELLED),
    }
    last = await ran.ago(250, kind="sync", script="issues", status=RunStatus.FAILED)
    cancelled = await ran.ago(240, kind="sync", script="issues", status=RunStatus.CANCELLED)
    of_no_sync = await ran.ago(230, kind="sync", script="removed")

    assert await ran.dropped() == {*earlier, of_no_sync}

    latest = await db.runs.latest(connection.key, "issues")
    assert latest is not None
    assert latest.id == cancelled
    assert await db.lifecycle.failed_syncs([connection.key]) == {connection.key: [last]}


async def test_an_action_stays_for_as_long_as_its_key_is_known(
    db: Database, ran: Ran, connection: Connection
) -> None:
    """Otherwise the same call would be another action, once Temporal has forgotten the first."""
    key = uuid4()
    await db.actions.claim_key(connection.environment_id, key, bytes(16))
    keyed = await ran.ago(200, workflow_id=action_workflow_id("dev", str(key)))
    odd = {
        await ran.ago(200, workflow_id=f"action/dev/{name}")
        for name in ("z" * 36, "-" * 36, "12345678-1234-1234-1234-short", str(uuid4()))
    }

    assert await ran.dropped() == odd

    (known,) = [
        found
        for found in await db.actions.old_keys(datetime.now(UTC) + DAY, limit=10_000)
        if found.id == key
    ]
    await db.actions.drop_keys([known])
    assert await ran.dropped() == {keyed}


async def test_scripts_of_a_connection_that_is_being_set_up_stay(
    db: Database, ran: Ran, connection: Connection
) -> None:
    run = await ran.ago(200, kind="on-event", script="welcome")
    query = "UPDATE connections SET credentials_version = set_up_version + $2 WHERE id = $1"
    await db.pool.execute(query, connection.key, 1)
    assert await ran.dropped() == set()

    await db.pool.execute(query, connection.key, 0)
    assert await ran.dropped() == {run}


async def test_the_run_that_refused_credentials_stays_as_long_as_they_are_refused(
    db: Database, ran: Ran, connection: Connection
) -> None:
    run = await ran.ago(200, kind="on-event", script="validate")
    query = "UPDATE connections SET auth_error_run_id = $2 WHERE id = $1"
    await db.pool.execute(query, connection.key, run)
    assert await ran.dropped() == set()

    await db.pool.execute(query, connection.key, None)
    assert await ran.dropped() == {run}


async def test_a_run_whose_deletions_wait_for_a_word_stays(
    db: Database, ran: Ran, connection: Connection
) -> None:
    await db.syncs.ensure(connection.key, "issues")
    held = await ran.ago(300, kind="sync", script="issues")
    await ran.ago(250, kind="sync", script="issues")
    await db.pool.execute(
        "INSERT INTO delete_tracks (connection_key, sync, model, variant, after_seq, held_at,"
        " held_by) VALUES ($1, 'issues', 'Issue', 'base', 0, now(), $2)",
        connection.key,
        held,
    )
    assert await ran.dropped() == set()

    await db.pool.execute("DELETE FROM delete_tracks WHERE held_by = $1", held)
    assert await ran.dropped() == {held}


async def test_a_run_that_is_retried_meanwhile_goes_on(
    db: Database, ran: Ran, connection: Connection
) -> None:
    run_id = await ran.ago(200, status=RunStatus.FAILED)
    old = await db.run_retention.old(connection.environment_id, BEFORE, limit=10)
    assert old.due == (run_id,)

    run = await db.runs.get(connection.environment_id, run_id)
    assert await db.runs.reopen(run, None)

    assert await db.run_retention.drop_logs(old.due, BEFORE, limit=10) == 0
    assert await db.run_retention.drop(old.due, BEFORE) == 0
    assert len(await db.runs.logs(run_id)) == 5


async def test_the_script_of_a_retried_run_goes_with_the_last_of_its_runs(
    db: Database, ran: Ran, connection: Connection
) -> None:
    workflow_id = f"sync/{UUID(int=7)}/{uuid4()}"
    await db.script_overrides.set(connection.environment_id, workflow_id, b"script")
    await ran.ago(200, workflow_id=workflow_id)
    later = await ran.ago(200, workflow_id=workflow_id, took=150 * DAY)
    await ran.dropped()
    assert await db.script_overrides.script_override(workflow_id) == b"script"

    await db.pool.execute("UPDATE runs SET finished_at = started_at WHERE id = $1", later)
    assert await ran.dropped() == {later}
    assert await db.script_overrides.script_override(workflow_id) is None


async def test_looking_goes_on_behind_what_is_kept(
    db: Database, ran: Ran, connection: Connection
) -> None:
    kept = [await ran.ago(days, status=RunStatus.RUNNING) for days in (300, 299, 298)]
    due = await ran.ago(297)

    first = await db.run_retention.old(connection.environment_id, BEFORE, limit=3)
    assert (first.due, first.last) == ((), OldRun(kept[-1], NOW - 298 * DAY))
    second = await db.run_retention.old(
        connection.environment_id, BEFORE, after=first.last, limit=3
    )
    assert second.due == (due,)
    assert second.last is not None
    ended = await db.run_retention.old(
        connection.environment_id, BEFORE, after=replace(second.last), limit=3
    )
    assert (ended.due, ended.last) == ((), None)
