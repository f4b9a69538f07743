"""Checkpoints: of two writers one wins, and a repeated step does not conflict with itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from perdure.db.checkpoints import Checkpoint, Writer, checkpoint_key
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.errors import ConflictError

KEY = "sync:issues"
STEP = Writer("run-1", "e1:5", datetime.now(UTC) - timedelta(minutes=1))
OTHER = Writer("run-2", "e2:5", datetime.now(UTC))


def test_keys_name_the_kind_the_script_and_its_variant() -> None:
    assert checkpoint_key("sync", "issues") == "sync:issues"
    assert checkpoint_key("webhook", "issues", "eu") == "webhook:issues:eu"


async def test_value_comes_back_as_it_was_saved(db: Database, connection: Connection) -> None:
    value = {"s": "a\0ü", "i": 2**70, "f": 1.0, "yes": True}

    await db.checkpoints.put(connection.key, KEY, value, expected=None, writer=STEP)

    found = (await db.checkpoints.get(connection.key, KEY)).value
    assert found == value
    assert {k: type(v) for k, v in (found or {}).items()} == {
        "s": str,
        "i": int,
        "f": float,
        "yes": bool,
    }


async def test_what_never_was_has_version_zero(db: Database, connection: Connection) -> None:
    assert await db.checkpoints.get(connection.key, KEY) == Checkpoint(None, 0)


async def test_writer_that_saw_an_older_version_is_refused(
    db: Database, connection: Connection
) -> None:
    first = await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=STEP)
    await db.checkpoints.put(connection.key, KEY, {"n": 2}, expected=first, writer=STEP)

    for expected in (0, first):
        with pytest.raises(ConflictError) as caught:
            await db.checkpoints.put(connection.key, KEY, {"n": 9}, expected=expected, writer=OTHER)
        assert caught.value.code == "checkpoint_conflict"
    assert (await db.checkpoints.get(connection.key, KEY)).value == {"n": 2}


async def test_of_writers_at_once_one_wins(db: Database, connection: Connection) -> None:
    writers = [Writer(f"run-{n}", "e:1", datetime.now(UTC)) for n in range(8)]

    results = await asyncio.gather(
        *(
            db.checkpoints.put(connection.key, KEY, {"n": n}, expected=0, writer=writer)
            for n, writer in enumerate(writers)
        ),
        return_exceptions=True,
    )

    assert [r for r in results if not isinstance(r, ConflictError)] == [1]


async def test_step_whose_answer_was_lost_is_no_conflict(
    db: Database, connection: Connection
) -> None:
    await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=STEP)

    version = await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=STEP)

    after = replace(STEP, step_id="e1:6")
    await db.checkpoints.put(connection.key, KEY, {"n": 2}, expected=version, writer=after)


async def test_stray_attempt_does_not_move_the_checkpoint_back(
    db: Database, connection: Connection
) -> None:
    first = await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=STEP)
    later = replace(STEP, step_id="e1:9")
    await db.checkpoints.put(connection.key, KEY, {"n": 2}, expected=first, writer=later)

    for expected in (0, None):
        with pytest.raises(ConflictError):
            await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=expected, writer=STEP)


async def test_run_that_is_retried_from_an_earlier_step_goes_on(
    db: Database, connection: Connection
) -> None:
    first = await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=STEP)
    later = replace(STEP, step_id="e1:9")
    await db.checkpoints.put(connection.key, KEY, {"n": 2}, expected=first, writer=later)

    again = Writer("run-1", "e2:5", datetime.now(UTC) + timedelta(seconds=5))
    await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=again)

    assert (await db.checkpoints.get(connection.key, KEY)).value == {"n": 1}


async def test_cleared_checkpoint_is_none_and_its_version_goes_on(
    db: Database, connection: Connection
) -> None:
    first = await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=STEP)
    await db.checkpoints.put(connection.key, KEY, None, expected=first, writer=STEP)

    assert await db.checkpoints.get(connection.key, KEY) == Checkpoint(None, first + 1, "run-1")


async def test_run_that_was_overtaken_by_a_reset_cannot_bring_its_checkpoint_back(
    db: Database, connection: Connection
) -> None:
    version = await db.checkpoints.put(connection.key, KEY, {"n": 1}, expected=0, writer=STEP)

    await db.checkpoints.reset(connection.key, KEY)

    with pytest.raises(ConflictError):
        await db.checkpoints.put(connection.key, KEY, {"n": 2}, expected=version, writer=OTHER)
    assert (await db.checkpoints.get(connection.key, KEY)).value is None


@pytest.mark.parametrize("variant", ["base", "eu"])
async def test_checkpoint_goes_with_its_sync(
    db: Database, connection: Connection, variant: str
) -> None:
    await db.syncs.ensure(connection.key, "issues", variant)
    keys = [checkpoint_key("sync", "issues", v) for v in (variant, f"~{variant}", "us")]
    for key in keys:
        await db.checkpoints.put(connection.key, key, {"n": 1}, expected=0, writer=STEP)

    await db.syncs.delete(connection.key, "issues", variant)

    left = [(await db.checkpoints.get(connection.key, key)).value for key in keys]
    assert left == [None, None, {"n": 1}]
