"""What each write does to each kind of record, and that the count of records moves with it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.db.database import Database
from perdure.db.records import BatchResult, RecordSet, Writer
from perdure.errors import InvalidInputError
from perdure.records.prepare import prepare_batch, prepare_deletion, prepare_update
from tests.support.record_counts import live_count

WHOLE = {"id": "a", "n": 1, "owner": {"name": "x", "mail": "y"}}
PRUNE = "UPDATE records SET pruned_at = now(), payload = '{}' WHERE connection_key = $1"
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def save(db: Database, target: RecordSet, *records: dict[str, Any]) -> BatchResult:
    return await db.records.save(target, prepare_batch(records))


async def update(db: Database, target: RecordSet, *partials: dict[str, Any]) -> BatchResult:
    return await db.records.update(target, prepare_update(partials))


async def delete(db: Database, target: RecordSet, *records: dict[str, Any]) -> BatchResult:
    return await db.records.delete(target, prepare_deletion(records))


async def row(db: Database, target: RecordSet, name: str = "a") -> dict[str, Any] | None:
    found = await db.pool.fetchrow(
        "SELECT * FROM records WHERE connection_key = $1 AND model = $2 AND variant = $3"
        " AND external_id = $4",
        target.connection_key,
        target.model,
        target.variant,
        name,
    )
    return found and dict(found)


async def live(db: Database, target: RecordSet) -> int:
    """How many records there are, counted one by one."""
    return await db.pool.fetchval(
        "SELECT count(*) FROM records WHERE connection_key = $1 AND model = $2 AND variant = $3"
        " AND deleted_at IS NULL",
        target.connection_key,
        target.model,
        target.variant,
    )


async def stand(db: Database, target: RecordSet, state: str) -> None:
    """Bring record `a` into a state."""
    if state != "none":
        await save(db, target, WHOLE)
    if state == "deleted":
        await delete(db, target, {"id": "a"})
    if state == "pruned":
        await db.pool.execute(PRUNE, target.connection_key)


@dataclass(frozen=True)
class Case:
    """A record in a state, a write, and what comes of it.

    `moves` says whether the record gets a new place in the stream.
    """

    state: str
    verb: str
    given: dict[str, Any]
    result: BatchResult
    action: str | None
    moves: bool
    payload: dict[str, Any] | None


ADDED = BatchResult(added=("a",))
UPDATED = BatchResult(updated=("a",))
DELETED = BatchResult(deleted=("a",))
UNCHANGED = BatchResult(unchanged=("a",))
IGNORED = BatchResult(ignored=("a",))
CHANGED = {**WHOLE, "n": 2}
LATE = {"id": "a", "deletedAt": MOMENT}

CASES = [
    Case("none", "save", WHOLE, ADDED, "ADDED", True, WHOLE),
    Case("deleted", "save", WHOLE, ADDED, "ADDED", True, WHOLE),
    Case("deleted", "save", CHANGED, ADDED, "ADDED", True, CHANGED),
    Case("live", "save", CHANGED, UPDATED, "UPDATED", True, CHANGED),
    Case("live", "save", WHOLE, UNCHANGED, "ADDED", False, WHOLE),
    Case("pruned", "save", WHOLE, UNCHANGED, "ADDED", False, WHOLE),
    Case("pruned", "save", CHANGED, UPDATED, "UPDATED", True, CHANGED),
    Case("live", "delete", {"id": "a"}, DELETED, "DELETED", True, WHOLE),
    Case("pruned", "delete", {"id": "a"}, DELETED, "DELETED", True, {}),
    Case("none", "delete", {"id": "a"}, BatchResult(unknown=("a",)), "DELETED", True, {"id": "a"}),
    Case("deleted", "delete", {"id": "a"}, UNCHANGED, "DELETED", False, WHOLE),
    Case("live", "delete", LATE, DELETED, "DELETED", True, WHOLE),
    Case("none", "delete", LATE, BatchResult(unknown=("a",)), "DELETED", True, {"id": "a"}),
    Case("deleted", "delete", LATE, UPDATED, "DELETED", True, WHOLE),
    Case(
        "live",
        "update",
        {"id": "a", "owner": {"mail": "z"}},
        UPDATED,
        "UPDATED",
        True,
        {"id": "a", "n": 1, "owner": {"name": "x", "mail": "z"}},
    ),
    Case("live", "update", {"id": "a", "n": 1}, UNCHANGED, "ADDED", False, WHOLE),
    Case("pruned", "update", {"id": "a", "n": 3}, UPDATED, "UPDATED", True, {"id": "a", "n": 3}),
    Case("deleted", "update", {"id": "a", "n": 3}, IGNORED, "DELETED", False, WHOLE),
    Case("none", "update", {"id": "a", "n": 3}, IGNORED, None, False, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.state}-{c.verb}-{c.given}")
async def test_each_kind_of_write_to_each_kind_of_record(
    db: Database, issues: RecordSet, case: Case
) -> None:
    await stand(db, issues, case.state)
    before = await row(db, issues)

    write = {"save": save, "update": update, "delete": delete}[case.verb]
    result = await write(db, issues, case.given)

    after = await row(db, issues)
    assert result == case.result
    assert await live_count(db, issues) == await live(db, issues)
    if case.action is None:
        assert after is None
        return
    assert after is not None
    assert json.loads(after["payload"]) == case.payload
    page = await db.records.list(issues)
    (shown,) = (json.loads(record) for record in page.records)
    assert shown["_nango_metadata"]["last_action"] == case.action
    if before is not None:
        assert (after["change_seq"] > before["change_seq"]) is case.moves
        assert (after["last_modified_at"] > before["last_modified_at"]) is case.moves
    if case.given is LATE:
        assert after["deleted_at"] == MOMENT
        again = await delete(db, issues, case.given)
        assert again == UNCHANGED


names = st.sampled_from(["a", "b", "c", "d"])
writes = st.lists(
    st.tuples(
        st.sampled_from(["save", "update", "delete"]),
        st.lists(names, min_size=1, max_size=4),
        st.integers(1, 3),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes)
async def test_the_count_is_right_after_any_writes(
    db: Database, issues: RecordSet, operations: list[tuple[str, list[str], int]]
) -> None:
    known: dict[str, bool] = {
        r["external_id"]: r["deleted_at"] is None
        for r in await db.pool.fetch(
            "SELECT external_id, deleted_at FROM records WHERE connection_key = $1",
            issues.connection_key,
        )
    }
    for verb, ids, n in operations:
        records = [{"id": name, "n": n} for name in ids]
        match verb:
            case "save":
                result = await save(db, issues, *records)
                known |= dict.fromkeys(ids, True)
            case "update":
                result = await update(db, issues, *records)
            case _:
                result = await delete(db, issues, *records)
                known |= dict.fromkeys(ids, False)
        named = [name for field in fields(result) for name in field]
        assert sorted(named) == sorted(set(ids)), "each id once, whatever became of it"
        assert await live_count(db, issues) == sum(known.values()) == await live(db, issues)


def fields(result: BatchResult) -> list[tuple[str, ...]]:
    return [
        *(result.added, result.updated, result.deleted),
        *(result.unchanged, result.unknown, result.ignored),
    ]


async def test_updates_of_one_record_at_the_same_time_are_all_kept(
    db: Database, issues: RecordSet
) -> None:
    await save(db, issues, {"id": "a", "seen": {}})

    await asyncio.gather(
        *(update(db, issues, {"id": "a", "seen": {f"w{n}": n}}) for n in range(20))
    )

    after = await row(db, issues)
    assert after is not None
    assert json.loads(after["payload"])["seen"] == {f"w{n}": n for n in range(20)}


async def test_values_survive_a_merge_to_the_last_digit(db: Database, issues: RecordSet) -> None:
    odd = {"id": "a", "big": 2**80, "one": 1.0, "text": "\ud800 nul \0", "keep": {"x": 0.1}}
    await save(db, issues, odd)

    await update(db, issues, {"id": "a", "keep": {"y": 10**30}})

    after = await row(db, issues)
    assert after is not None
    assert json.loads(after["payload"]) == {**odd, "keep": {"x": 0.1, "y": 10**30}}
    assert b'"one":1.0' in after["payload"]


async def test_writers_of_the_same_ids_in_any_order_do_not_deadlock(
    db: Database, issues: RecordSet
) -> None:
    ids = [str(n) for n in range(300)]

    async def write(number: int) -> None:
        order = ids if number % 2 else ids[::-1]
        await save(db, issues, *({"id": name, "n": number} for name in order))
        await update(db, issues, *({"id": name, "m": number} for name in order[::2]))
        await delete(db, issues, *({"id": name} for name in order[::3]))

    await asyncio.gather(*(write(number) for number in range(8)))

    assert await live_count(db, issues) == await live(db, issues)


async def place(db: Database, target: RecordSet) -> int:
    return await db.delete_tracks.place(target)


async def test_records_that_others_changed_since_are_left_alone(
    db: Database, issues: RecordSet
) -> None:
    names = ["changed", "gone", "quiet", "back"]
    await save(db, issues, *({"id": name, "n": 1} for name in names))
    await delete(db, issues, {"id": "back"})
    run = Writer("run-1", not_after=await place(db, issues))
    hook = Writer("hook-1")
    await db.records.save(issues, prepare_batch([{"id": "changed", "n": 7}]), by=hook)
    await db.records.save(issues, prepare_batch([{"id": "new", "n": 7}]), by=hook)
    await db.records.delete(issues, prepare_deletion([{"id": "gone"}]), by=hook)

    saved = await db.records.save(
        issues, prepare_batch([{"id": name, "n": 2} for name in [*names, "new"]]), by=run
    )
    updated = await db.records.update(
        issues, prepare_update([{"id": "changed", "n": 3}, {"id": "quiet", "n": 3}]), by=run
    )
    deleted = await db.records.delete(
        issues, prepare_deletion([{"id": "changed"}, {"id": "quiet"}]), by=run
    )

    assert saved == BatchResult(
        added=("back",), updated=("quiet",), ignored=("changed", "gone", "new")
    )
    assert updated == BatchResult(updated=("quiet",), ignored=("changed",))
    assert deleted == BatchResult(deleted=("quiet",), ignored=("changed",))
    changed = await row(db, issues, "changed")
    assert changed is not None
    assert json.loads(changed["payload"])["n"] == 7


async def test_what_comes_out_of_a_merge_must_be_json(db: Database, issues: RecordSet) -> None:
    await save(db, issues, WHOLE)

    with pytest.raises(InvalidInputError) as caught:
        await update(db, issues, {"id": "a", "n": object()})

    assert caught.value.code == "invalid_record"
    assert (await row(db, issues) or {})["deleted_at"] is None
