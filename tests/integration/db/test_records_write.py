"""What a write does to records, case by case."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from perdure.db import record_saves
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.record_batches import NOBODY
from perdure.db.records import BatchResult, RecordSet, Writer
from perdure.errors import InvalidInputError, NotFoundError
from perdure.ids import ConnectionKey
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.support.record_counts import live_count

pytestmark = pytest.mark.usefixtures("either_way")


async def save(db: Database, target: RecordSet, *records: dict[str, Any]) -> BatchResult:
    return await db.records.save(target, prepare_batch(records))


async def delete(db: Database, target: RecordSet, *ids: str) -> BatchResult:
    return await db.records.delete(target, prepare_deletion([{"id": name} for name in ids]))


async def read(db: Database, target: RecordSet) -> dict[str, dict[str, Any]]:
    page = await db.records.list(target, limit=10_000)
    records = [json.loads(record) for record in page.records]
    return {record["id"]: record for record in records}


async def row(db: Database, target: RecordSet, name: str) -> dict[str, Any]:
    found = await db.pool.fetchrow(
        "SELECT *, xmin::text, ctid::text FROM records"
        " WHERE connection_key = $1 AND model = $2 AND variant = $3 AND external_id = $4",
        target.connection_key,
        target.model,
        target.variant,
        name,
    )
    assert found is not None
    return dict(found)


async def test_new_records_are_added(db: Database, issues: RecordSet) -> None:
    result = await save(db, issues, {"id": "a", "n": 1}, {"id": "b", "n": 2})

    assert result == BatchResult(added=("a", "b"))
    stored = await row(db, issues, "a")
    assert stored["first_seen_at"] == stored["last_modified_at"]
    assert (await read(db, issues))["a"]["_nango_metadata"]["last_action"] == "ADDED"


async def test_a_changed_record_is_updated(db: Database, issues: RecordSet) -> None:
    await save(db, issues, {"id": "a", "n": 1}, {"id": "b", "n": 2})
    before = await row(db, issues, "a")

    result = await save(db, issues, {"id": "a", "n": 9}, {"id": "b", "n": 2})

    assert result == BatchResult(updated=("a",), unchanged=("b",))
    after = await row(db, issues, "a")
    assert after["first_seen_at"] == before["first_seen_at"]
    assert after["last_modified_at"] > before["last_modified_at"]
    assert after["change_seq"] > before["change_seq"]
    assert (await read(db, issues))["a"]["n"] == 9
    assert (await read(db, issues))["a"]["_nango_metadata"]["last_action"] == "UPDATED"


async def test_an_unchanged_record_is_not_reported_as_updated_nor_rewritten(
    db: Database, issues: RecordSet
) -> None:
    await save(db, issues, {"id": "a", "n": 1})
    before = await row(db, issues, "a")

    result = await save(db, issues, {"id": "a", "n": 1})

    assert result == BatchResult(unchanged=("a",))
    after = await row(db, issues, "a")
    assert (after["xmin"], after["ctid"]) == (before["xmin"], before["ctid"])
    assert after == before


async def test_saving_what_stands_there_writes_nothing_at_all(
    db: Database, issues: RecordSet
) -> None:
    batch = prepare_batch([{"id": f"r{number}"} for number in range(100)])
    await db.records.save(issues, batch)

    async with db.transaction() as conn:
        result = await db.records.save(issues, batch, conn=conn)
        # Whoever writes or locks a row has a transaction id.
        has_written = await conn.fetchval("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")

    assert len(result.unchanged) == 100
    assert not has_written


async def test_what_is_likely_to_be_unchanged_is_sent_only_where_it_is_not(
    db: Database, issues: RecordSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    async def save_row(*how: Any, unchanged: bool = False, **more: Any) -> asyncpg.Record | None:
        row = await record_saves.save_row(*how, **more, unchanged=unchanged)
        sent.append(("hashes" if unchanged else "all") + ("" if row else ", in vain"))
        return row

    monkeypatch.setattr("perdure.db.record_writes.save_row", save_row)
    for number in (1, 1, 1, 2, 2, 2):
        await save(db, issues, {"id": "a"}, {"id": "b", "n": number})

    assert sent == ["all", "all", "hashes", "hashes, in vain", "all", "all", "hashes"]
    assert (await read(db, issues))["b"]["n"] == 2


@pytest.mark.parametrize("change", ["new", "changed", "deleted", "pruned"])
async def test_a_batch_that_is_wrongly_taken_for_unchanged_does_nothing(
    db: Database, issues: RecordSet, change: str
) -> None:
    await save(db, issues, {"id": "a", "n": 1}, {"id": "b", "n": 1})
    if change == "deleted":
        await delete(db, issues, "b")
    if change == "pruned":
        await db.pool.execute(
            "UPDATE records SET pruned_at = now() WHERE connection_key = $1", issues.connection_key
        )
    names = "abc" if change == "new" else "ab"
    batch = prepare_batch([{"id": name, "n": 1 + (change == "changed")} for name in names])

    async with db.transaction() as conn:
        found = await record_saves.save_row(conn, issues, batch, NOBODY, unchanged=True)
        has_written = await conn.fetchval("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")

    assert found is None
    assert not has_written


async def test_another_order_of_keys_is_no_change(db: Database, issues: RecordSet) -> None:
    await save(db, issues, {"id": "a", "x": 1, "y": {"p": 1, "q": 2}})

    result = await save(db, issues, {"y": {"q": 2, "p": 1}, "x": 1, "id": "a"})

    assert result == BatchResult(unchanged=("a",))


async def test_a_number_and_its_text_are_the_same_id(db: Database, issues: RecordSet) -> None:
    await save(db, issues, {"id": 7, "n": 1})

    assert await save(db, issues, {"id": "7", "n": 1}) == BatchResult(unchanged=("7",))
    assert (await read(db, issues))["7"]["id"] == "7"


async def test_a_deleted_record_keeps_its_payload(db: Database, issues: RecordSet) -> None:
    await save(db, issues, {"id": "a", "n": 1})
    before = await row(db, issues, "a")

    result = await delete(db, issues, "a")

    assert result == BatchResult(deleted=("a",))
    after = await row(db, issues, "a")
    assert after["deleted_at"] == after["last_modified_at"] > before["last_modified_at"]
    assert after["change_seq"] > before["change_seq"]
    record = (await read(db, issues))["a"]
    assert record["n"] == 1
    assert record["_nango_metadata"]["last_action"] == "DELETED"


async def test_deleting_again_changes_nothing(db: Database, issues: RecordSet) -> None:
    await save(db, issues, {"id": "a"})
    await delete(db, issues, "a")
    before = await row(db, issues, "a")

    result = await delete(db, issues, "a")

    assert result == BatchResult(unchanged=("a",))
    assert await row(db, issues, "a") == before


async def test_deleting_what_was_never_there_is_told_to_who_follows_the_stream(
    db: Database, issues: RecordSet
) -> None:
    result = await delete(db, issues, "ghost")

    assert result == BatchResult(unknown=("ghost",))
    record = (await read(db, issues))["ghost"]
    assert set(record) == {"id", "_nango_metadata"}
    assert record["_nango_metadata"]["last_action"] == "DELETED"
    assert result.counts == {"added": 0, "updated": 0, "deleted": 0, "unchanged": 0}


@pytest.mark.parametrize("n", [1, 2])
async def test_a_deleted_record_that_is_saved_comes_back_as_added(
    db: Database, issues: RecordSet, n: int
) -> None:
    await save(db, issues, {"id": "a", "n": 1})
    first = await row(db, issues, "a")
    await delete(db, issues, "a")

    result = await save(db, issues, {"id": "a", "n": n})

    assert result == BatchResult(added=("a",))
    back = await row(db, issues, "a")
    assert back["deleted_at"] is None
    assert back["first_seen_at"] == back["last_modified_at"] > first["last_modified_at"]
    record = (await read(db, issues))["a"]
    assert record["n"] == n
    assert record["_nango_metadata"]["last_action"] == "ADDED"


async def test_a_pruned_record_gets_its_payload_back_without_having_changed(
    db: Database, issues: RecordSet
) -> None:
    await save(db, issues, {"id": "a", "n": 1})
    before = await row(db, issues, "a")
    await db.pool.execute(
        "UPDATE records SET pruned_at = now(), payload = '{}' WHERE connection_key = $1",
        issues.connection_key,
    )
    assert set((await read(db, issues))["a"]) == {"id", "_nango_metadata"}

    result = await save(db, issues, {"id": "a", "n": 1})

    assert result == BatchResult(unchanged=("a",))
    after = await row(db, issues, "a")
    assert after["pruned_at"] is None
    for column in ("payload", "first_seen_at", "last_modified_at", "change_seq"):
        assert after[column] == before[column]


async def test_a_pruned_record_that_changed_is_updated(db: Database, issues: RecordSet) -> None:
    await save(db, issues, {"id": "a", "n": 1})
    await db.pool.execute(
        "UPDATE records SET pruned_at = now() WHERE connection_key = $1", issues.connection_key
    )

    assert await save(db, issues, {"id": "a", "n": 2}) == BatchResult(updated=("a",))
    assert (await read(db, issues))["a"]["n"] == 2


async def test_of_duplicates_the_first_is_kept(db: Database, issues: RecordSet) -> None:
    result = await save(db, issues, {"id": "a", "n": 1}, {"id": "a", "n": 2}, {"id": "b"})

    assert result == BatchResult(added=("a", "b"), duplicates=("a",))
    assert (await read(db, issues))["a"]["n"] == 1


async def test_a_batch_with_a_record_without_an_id_writes_nothing(
    db: Database, issues: RecordSet
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await save(db, issues, {"id": "a"}, {"n": 1}, {"id": "b"}, {"id": ""})

    assert [problem.path for problem in caught.value.errors] == [(1, "id"), (3, "id")]
    assert await read(db, issues) == {}


async def test_a_thousand_records_in_one_call(db: Database, issues: RecordSet) -> None:
    records = [{"id": number, "n": number} for number in range(1, 1001)]
    first = await save(db, issues, *records)
    records[499]["n"] = -1

    second = await save(db, issues, *records)

    assert len(first.added) == 1000
    assert second.updated == ("500",)
    assert len(second.unchanged) == 999
    assert await live_count(db, issues) == 1000


async def test_an_empty_batch_does_nothing(db: Database, issues: RecordSet) -> None:
    assert await save(db, issues) == BatchResult()
    assert await delete(db, issues) == BatchResult()


@pytest.mark.parametrize(
    "value",
    [
        "nul \0 inside",
        "\ud800 unpaired",
        "emoji 🦀 and ünïcode",
        "quotes \" ' \\ and \n newline",
        2**80,
        -(10**30),
        1e308,
        0.1,
        [None, True, {"": []}],
        {"nul\0key": 1},
    ],
    ids=repr,
)
async def test_any_json_value_comes_back_as_it_was(
    db: Database, issues: RecordSet, value: object
) -> None:
    await save(db, issues, {"id": "a", "value": value})

    assert (await read(db, issues))["a"]["value"] == value
    assert (await save(db, issues, {"id": "a", "value": value})).unchanged == ("a",)


@pytest.mark.parametrize("name", ["ünïcode 🦀", "quote'\"\\", "%_", "a/b::c", " ", "x" * 1024])
async def test_any_text_is_an_id(db: Database, issues: RecordSet, name: str) -> None:
    await save(db, issues, {"id": name})

    assert set(await read(db, issues)) == {name}
    assert (await delete(db, issues, name)).deleted == (name,)


async def test_nul_characters_leave_an_id(db: Database, issues: RecordSet) -> None:
    assert (await save(db, issues, {"id": "a\0b"})).added == ("ab",)


async def test_the_payload_is_stored_as_the_source_gave_it(db: Database, issues: RecordSet) -> None:
    await save(db, issues, {"z": 1.0, "id": "a", "b": 1, "a": 0.10})

    page = await db.records.list(issues)

    assert page.records[0].startswith(b'{"id":"a","z":1.0,"b":1,"a":0.1,"_nango_metadata":{')


async def test_connections_models_and_variants_are_worlds_of_their_own(
    db: Database, connection: Connection
) -> None:
    other, _ = await db.connections.save(connection.environment_id, "github", "other", {"k": 1})
    targets = [
        RecordSet(connection.key, "Issue"),
        RecordSet(connection.key, "Label"),
        RecordSet(connection.key, "Issue", "archived"),
        RecordSet(other.key, "Issue"),
    ]

    for number, target in enumerate(targets):
        assert (await save(db, target, {"id": "a", "n": number})).added == ("a",)

    for number, target in enumerate(targets):
        assert (await read(db, target))["a"]["n"] == number


async def test_the_run_that_changed_a_record_is_noted(db: Database, issues: RecordSet) -> None:
    await db.records.save(issues, prepare_batch([{"id": "a"}]), by=Writer("run-1"))
    await db.records.save(issues, prepare_batch([{"id": "a"}]), by=Writer("run-2"))

    assert (await row(db, issues, "a"))["last_run_id"] == "run-1"


async def test_writing_for_a_connection_that_is_gone_says_so(db: Database) -> None:
    target = RecordSet(ConnectionKey(2**60), "Issue")

    with pytest.raises(NotFoundError) as caught:
        await save(db, target, {"id": "a"})

    assert caught.value.code == "unknown_connection"


async def test_a_write_joins_the_transaction_of_its_caller(db: Database, issues: RecordSet) -> None:
    class Regret(Exception):
        pass

    async def write_and_regret() -> None:
        async with db.transaction() as conn:
            await db.records.save(issues, prepare_batch([{"id": "a"}]), conn=conn)
            raise Regret

    with pytest.raises(Regret):
        await write_and_regret()

    assert await read(db, issues) == {}


async def test_a_clock_that_was_set_back_does_not_make_an_update_look_like_an_addition(
    db: Database, issues: RecordSet
) -> None:
    await save(db, issues, {"id": "a", "n": 1}, {"id": "b", "n": 1}, {"id": "c", "n": 1})
    await delete(db, issues, "c")
    await db.pool.execute(
        "UPDATE records SET first_seen_at = now() + interval '1 hour',"
        " last_modified_at = now() + interval '1 hour' WHERE connection_key = $1",
        issues.connection_key,
    )

    await save(db, issues, {"id": "a", "n": 2}, {"id": "c", "n": 2})
    await delete(db, issues, "b")

    actions = {
        name: record["_nango_metadata"]["last_action"]
        for name, record in (await read(db, issues)).items()
    }
    assert actions == {"a": "UPDATED", "b": "DELETED", "c": "ADDED"}


async def test_deleting_a_connection_deletes_its_records(
    db: Database, connection: Connection
) -> None:
    target = RecordSet(connection.key, f"Model{uuid4().hex}")
    await save(db, target, {"id": "a"})

    await db.connections.delete(connection.environment_id, "github", "acme")

    assert (
        await db.pool.fetchval("SELECT count(*) FROM records WHERE model = $1", target.model) == 0
    )
