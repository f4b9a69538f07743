"""Reading a page goes by an index, whatever lies before it, and whether statistics are there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from perdure.crypto.keyring import KeyRing
from perdure.db import record_pruning, record_saves, record_sets, records
from perdure.db.database import Database
from perdure.db.migrate import migrate
from perdure.db.records import NamedRecordSet, RecordSet
from perdure.records.prepare import prepare_batch, prepare_deletion

from .conftest import NewDatabase

SIZE = 20_000
PAGE = 101


@pytest.fixture(scope="module", params=["without statistics", "with statistics"])
async def filled(
    request: pytest.FixtureRequest, new_database: NewDatabase, keyring: KeyRing
) -> AsyncIterator[tuple[Database, RecordSet]]:
    """A set of many records, some of them deleted, beside a small one."""
    url = await new_database()
    await migrate(url)
    async with Database.open(url, keyring=keyring) as database:
        await database.pool.execute("ALTER TABLE records SET (autovacuum_enabled = off)")
        environment = await database.environments.ensure("dev", str(uuid4()))
        await database.integrations.create(environment.id, "github", "github")
        for other in range(100):
            await database.connections.save(environment.id, "github", f"c{other}", {"k": 1})
        connection, _ = await database.connections.save(environment.id, "github", "acme", {"k": 1})
        target = RecordSet(connection.key, "Issue")
        for start in range(0, SIZE, 5_000):
            batch = [{"id": str(number)} for number in range(start, start + 5_000)]
            await database.records.save(target, prepare_batch(batch))
        await database.records.save(
            RecordSet(connection.key, "Label"), prepare_batch([{"id": "a"}])
        )
        gone = [{"id": str(number)} for number in range(0, SIZE, 50)]
        await database.records.delete(target, prepare_deletion(gone))
        if request.param == "with statistics":
            await database.pool.execute("ANALYZE")
        yield database, target


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def executed(db: Database, statement: str, *arguments: object) -> list[dict[str, Any]]:
    text = await db.pool.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
    return list(nodes(json.loads(text)[0]["Plan"]))


def indexes(plan: list[dict[str, Any]]) -> list[str]:
    return [node["Index Name"] for node in plan if "Index Name" in node]


@pytest.mark.parametrize("place", [0, SIZE // 2, SIZE - 10])
async def test_a_page_is_read_by_the_index_of_the_stream(
    filled: tuple[Database, RecordSet], place: int
) -> None:
    db, target = filled
    first = records._first_arguments(target)

    plan = await executed(db, records._LIST, *first, place, None, True, True, True, PAGE)

    assert [node["Node Type"] for node in plan] == ["Limit", "Index Scan"]
    assert indexes(plan) == ["records_stream"]
    assert plan[1]["Actual Rows"] == PAGE


READS = {
    "_LIST": (0, None, True, True, True, PAGE),
    "_LIST_DELETED": (0, None, PAGE),
    "_LIST_BY_IDS": (0, None, True, True, True, PAGE, ["7", "8"]),
}


@pytest.mark.parametrize("statement", READS)
async def test_a_page_of_a_named_connection_is_read_as_one_of_a_row_id(
    filled: tuple[Database, RecordSet], statement: str
) -> None:
    db, target = filled
    text, arguments = getattr(records, statement), READS[statement]

    by_name = await executed(db, text, *await named(db, target), *arguments)
    by_row_id = await executed(db, text, *records._first_arguments(target), *arguments)

    assert rows_read(by_name) == rows_read(by_row_id)


def rows_read(plan: list[dict[str, Any]]) -> tuple[str, float, float]:
    (read,) = [node for node in plan if node.get("Relation Name") == "records"]
    return read["Index Name"], read["Actual Rows"], read.get("Rows Removed by Filter", 0)


async def test_a_plan_for_any_connection_reads_a_page_by_the_index_of_the_stream(
    filled: tuple[Database, RecordSet],
) -> None:
    # What Postgres goes by once a statement was executed often.
    db, target = filled
    environment = (await named(db, target))[1]
    given = f"NULL, {environment}, 'github', 'acme', 'Issue', 'base', {SIZE // 2}"

    async with db.pool.acquire() as connection:
        await connection.execute(f"PREPARE read_page AS {records._LIST}")
        async with connection.transaction():
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            text = await connection.fetchval(
                "EXPLAIN (ANALYZE, FORMAT JSON)"
                f" EXECUTE read_page ({given}, NULL, true, true, true, {PAGE})"
            )
        await connection.execute("DEALLOCATE read_page")

    plan = list(nodes(json.loads(text)[0]["Plan"]))
    (read,) = [node for node in plan if node.get("Relation Name") == "records"]
    assert "COALESCE($1" in read["Index Cond"]
    assert (read["Index Name"], read["Actual Rows"]) == ("records_stream", PAGE)
    assert "Sort" not in {node["Node Type"] for node in plan}


async def test_the_place_before_a_moment_is_found_for_a_named_connection_by_halving(
    filled: tuple[Database, RecordSet],
) -> None:
    db, target = filled
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)

    plan = await executed(db, records._PLACE_BEFORE, *await named(db, target), 0, long_ago)

    read = [node for node in plan if node.get("Relation Name") == "records"]
    assert {node["Index Name"] for node in read} == {"records_stream"}
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) < 50


async def named(db: Database, target: RecordSet) -> tuple[object, ...]:
    connection = await db.connections.by_key(target.connection_key)
    return records._first_arguments(
        NamedRecordSet(connection.environment_id, "github", "acme", target.model)
    )


async def test_what_is_deleted_is_read_without_what_is_not(
    filled: tuple[Database, RecordSet],
) -> None:
    db, target = filled
    plan = await executed(
        db, records._LIST_DELETED, *records._first_arguments(target), 0, None, PAGE
    )

    assert [node["Node Type"] for node in plan] == ["Limit", "Index Scan"]
    assert indexes(plan) == ["records_deleted"]
    assert plan[1].get("Rows Removed by Filter", 0) == 0


async def test_sets_are_found_and_counted_without_going_through_them(
    filled: tuple[Database, RecordSet],
) -> None:
    db, target = filled
    key = (target.connection_key, target.model, target.variant)

    sets = await executed(db, record_sets._SETS, [target.connection_key])
    more = await executed(db, record_pruning._HAS_MORE, *key, 0, 2**63 - 1)

    for plan in (sets, more):
        assert "Seq Scan" not in {
            n["Node Type"] for n in plan if n.get("Relation Name") == "records"
        }
        assert sum(n["Actual Rows"] * n["Actual Loops"] for n in plan if "Index Name" in n) < 10


BY_NOBODY = (None, None, "", "", None, None, None, None, None, None)


async def test_a_batch_looks_at_no_other_records_than_its_own(
    filled: tuple[Database, RecordSet],
) -> None:
    db, target = filled
    key = (target.connection_key, target.model, target.variant)
    batch = prepare_batch([{"id": str(number)} for number in range(1, 40)])

    given = (batch.ids, batch.payloads, batch.hashes)
    plan = await executed(db, record_saves._SAVE, *key, *given, *BY_NOBODY)

    read = [node for node in plan if node.get("Relation Name") == "records"]
    assert [node["Node Type"] for node in read] == ["ModifyTable"]
    assert read[0]["Tuples Inserted"] == read[0]["Conflicting Tuples"] == 0


async def test_what_is_taken_for_unchanged_is_looked_up_once_and_nothing_else_is(
    filled: tuple[Database, RecordSet],
) -> None:
    db, target = filled
    key = (target.connection_key, target.model, target.variant)
    batch = prepare_batch([{"id": str(number)} for number in range(1, 40)])

    given = (batch.ids, None, batch.hashes)
    plan = await executed(db, record_saves._SAVE_UNCHANGED, *key, *given, *BY_NOBODY)

    assert not [node for node in plan if node.get("Relation Name") == "records"]
    (looked,) = [node for node in plan if node.get("Alias") == "u"]
    assert looked["Node Type"] == "Function Scan"
    assert looked["Actual Loops"] == 1


async def test_records_are_looked_up_by_key_though_the_table_was_empty_once(
    new_database: NewDatabase, keyring: KeyRing
) -> None:
    """Plans are kept: one made for an empty table would read a full one, for each record."""
    url = await new_database()
    await migrate(url)
    async with Database.open(url, keyring=keyring, pool_size=1) as database:
        environment = await database.environments.ensure("dev", str(uuid4()))
        await database.integrations.create(environment.id, "github", "github")
        for other in range(100):
            await database.connections.save(environment.id, "github", f"c{other}", {"k": 1})
        connection, _ = await database.connections.save(environment.id, "github", "acme", {"k": 1})
        await database.pool.execute("ALTER TABLE records SET (autovacuum_enabled = off)")
        await database.pool.execute("VACUUM ANALYZE records")
        before = await sequential_scans(database)

        for start in range(0, 1_000, 100):
            batch = [{"id": str(number)} for number in range(start, start + 100)]
            await database.records.save(RecordSet(connection.key, "Issue"), prepare_batch(batch))

        assert await sequential_scans(database) == before


async def sequential_scans(database: Database) -> int:
    await database.pool.execute("SELECT pg_stat_force_next_flush()")
    count: int = await database.pool.fetchval(
        "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'records'"
    )
    return count
