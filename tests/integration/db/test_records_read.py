"""Reading the stream of changes: cursors, filters and their combinations."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from perdure.clock import utcnow
from perdure.crypto.keyring import KeyRing
from perdure.db.database import Database
from perdure.db.migrate import migrate
from perdure.db.pool import create_pool
from perdure.db.records import RecordFilter, RecordPage, RecordSet, RecordStore
from perdure.errors import InvalidInputError
from perdure.records.cursor import encode_cursor
from perdure.records.prepare import prepare_batch, prepare_deletion
from tests.support.record_counts import live_count

from .conftest import NewDatabase


def ids(page: RecordPage) -> list[str]:
    return [json.loads(record)["id"] for record in page.records]


def metadata(page: RecordPage, index: int = -1) -> dict[str, str]:
    found: dict[str, str] = json.loads(page.records[index])["_nango_metadata"]
    return found


@pytest.fixture
async def mixed(db: Database, issues: RecordSet) -> RecordSet:
    """Records of which `a` was added, `u` updated and `d` deleted last, in this order."""
    await db.records.save(issues, prepare_batch([{"id": "u"}, {"id": "d"}]))
    await db.records.save(issues, prepare_batch([{"id": "a"}]))
    await db.records.save(issues, prepare_batch([{"id": "u", "n": 2}]))
    await db.records.delete(issues, prepare_deletion([{"id": "d"}]))
    return issues


async def test_records_come_in_the_order_of_their_latest_change(
    db: Database, mixed: RecordSet
) -> None:
    page = await db.records.list(mixed)

    assert ids(page) == ["a", "u", "d"]
    assert page.next_cursor is None


async def test_the_pages_of_a_stream_are_the_whole_stream(db: Database, issues: RecordSet) -> None:
    names = [f"r{number:02}" for number in range(10)]
    await db.records.save(issues, prepare_batch([{"id": name} for name in names]))

    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        page = await db.records.list(issues, after_cursor=cursor, limit=4)
        seen += ids(page)
        sizes.append(len(page.records))
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == names
    assert sizes == [4, 4, 2]


async def test_a_page_that_ends_with_the_last_record_has_no_next_cursor(
    db: Database, mixed: RecordSet
) -> None:
    assert (await db.records.list(mixed, limit=3)).next_cursor is None
    assert (await db.records.list(mixed, limit=2)).next_cursor is not None


async def test_every_record_carries_the_cursor_to_go_on_from(
    db: Database, mixed: RecordSet
) -> None:
    page = await db.records.list(mixed)

    after_first = await db.records.list(mixed, after_cursor=metadata(page, 0)["cursor"])
    after_last = await db.records.list(mixed, after_cursor=metadata(page)["cursor"])

    assert ids(after_first) == ["u", "d"]
    assert ids(after_last) == []


async def test_a_change_appears_after_the_cursor_of_its_reader(
    db: Database, mixed: RecordSet
) -> None:
    cursor = metadata(await db.records.list(mixed))["cursor"]

    await db.records.save(mixed, prepare_batch([{"id": "a", "n": 5}, {"id": "u", "n": 2}]))

    assert ids(await db.records.list(mixed, after_cursor=cursor)) == ["a"]


@pytest.mark.parametrize(
    "filters",
    [c for size in range(4) for c in itertools.combinations(RecordFilter, size)],
    ids=lambda filters: "+".join(filters) or "none",
)
async def test_filters_are_a_union(
    db: Database, mixed: RecordSet, filters: tuple[RecordFilter, ...]
) -> None:
    expected = [name for name in "aud" if any(f.value[0] == name for f in filters)]

    assert ids(await db.records.list(mixed, filters=filters)) == expected
    assert ids(await db.records.list(mixed, filters=filters, ids=["a", "u", "d"])) == expected


async def test_only_the_records_asked_for_by_id(db: Database, mixed: RecordSet) -> None:
    assert ids(await db.records.list(mixed, ids=["d", "a", "missing"])) == ["a", "d"]
    assert ids(await db.records.list(mixed, ids=[])) == []


async def test_modified_after_includes_the_moment_itself(db: Database, mixed: RecordSet) -> None:
    moment = datetime.fromisoformat(metadata(await db.records.list(mixed), 1)["last_modified_at"])

    assert ids(await db.records.list(mixed, modified_after=moment)) == ["u", "d"]


async def test_all_conditions_hold_at_once(db: Database, mixed: RecordSet) -> None:
    page = await db.records.list(mixed)
    moment = datetime.fromisoformat(metadata(page, 1)["last_modified_at"])

    found = await db.records.list(
        mixed,
        after_cursor=metadata(page, 0)["cursor"],
        modified_after=moment,
        filters=[RecordFilter.DELETED, RecordFilter.ADDED],
        ids=["a", "u", "d"],
    )

    assert ids(found) == ["d"]


async def test_the_count_leaves_out_deleted_records(db: Database, mixed: RecordSet) -> None:
    assert await live_count(db, mixed) == 2


async def test_an_unknown_model_is_an_empty_list(db: Database, issues: RecordSet) -> None:
    unknown = RecordSet(issues.connection_key, "Nothing")

    assert await db.records.list(unknown) == RecordPage((), (), (), None)
    assert await live_count(db, unknown) == 0


async def test_a_cursor_of_another_kind_is_refused(db: Database, issues: RecordSet) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await db.records.list(issues, after_cursor="garbage")

    assert caught.value.code == "invalid_cursor"


async def test_a_cursor_beyond_the_end_is_an_empty_page(db: Database, mixed: RecordSet) -> None:
    assert ids(await db.records.list(mixed, after_cursor=encode_cursor(2**63 - 1))) == []


async def test_the_body_is_json(db: Database, mixed: RecordSet) -> None:
    page = await db.records.list(mixed, limit=2)

    body = json.loads(bytes(page.body()))

    assert [record["id"] for record in body["records"]] == ["a", "u"]
    assert body["next_cursor"] == body["records"][-1]["_nango_metadata"]["cursor"]


async def test_moments_are_told_as_they_are_stored(db: Database, mixed: RecordSet) -> None:
    page = await db.records.list(mixed)
    stored = await db.pool.fetch(
        "SELECT first_seen_at, last_modified_at, deleted_at FROM records"
        " WHERE connection_key = $1 ORDER BY change_seq",
        mixed.connection_key,
    )

    told = [
        tuple(
            None if moment is None else datetime.fromisoformat(moment)
            for moment in map(metadata(page, index).get, stored[index].keys())
        )
        for index in range(3)
    ]

    assert told == [tuple(row) for row in stored]


async def test_following_the_stream_needs_no_sort(db: Database, issues: RecordSet) -> None:
    # Without the index a page would cost the whole set, and a reader of all pages its square.
    await db.records.save(issues, prepare_batch([{"id": n} for n in range(1, 2001)]))
    await db.pool.execute("ANALYZE records")

    from perdure.db import records

    plan = await db.pool.fetch(
        f"EXPLAIN {records._LIST}",
        *(*records._first_arguments(issues), 1000, None, True, True, True, 101),
    )

    text = "\n".join(line[0] for line in plan)
    assert "records_stream" in text
    assert "Sort" not in text


_FETCHED = """
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'records'
"""


async def test_what_changed_lately_is_read_without_what_changed_long_ago(
    new_database: NewDatabase, keyring: KeyRing
) -> None:
    url = await new_database()
    await migrate(url)
    async with Database.open(url, keyring=keyring) as database, await create_pool(url, 1) as pool:
        environment = await database.environments.ensure("dev", str(uuid4()))
        await database.integrations.create(environment.id, "github", "github")
        connection, _ = await database.connections.save(environment.id, "github", "acme", {"k": 1})
        target = RecordSet(connection.key, "Issue")
        for start in range(0, 5_000, 1_000):
            batch = [{"id": str(number)} for number in range(start, start + 1_000)]
            await database.records.save(target, prepare_batch(batch))
        await pool.execute(
            "UPDATE records SET first_seen_at = first_seen_at - interval '2 days',"
            " last_modified_at = last_modified_at - interval '2 days'"
        )
        await pool.execute("ANALYZE records")
        await database.records.save(target, prepare_batch([{"id": "7", "n": 1}, {"id": "new"}]))

        async def fetched() -> int:
            await pool.execute("SELECT pg_stat_force_next_flush()")
            count: int = await pool.fetchval(_FETCHED)
            return count

        before = await fetched()
        since = utcnow() - timedelta(minutes=9)
        page = await RecordStore(pool).list(target, modified_after=since)
        cost = await fetched() - before

    assert ids(page) == ["7", "new"]
    assert cost < 200
