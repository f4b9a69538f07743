"""What a sync saves is what a reader gets, whatever is in it."""

from __future__ import annotations

import pytest

from perdure.db.records import RecordFilter
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


def saving(records: str, then: str = "") -> str:
    return (
        "async def fetch_data(nango):\n"
        f"    await nango.batch_save({records}, 'Issue')\n"
        f"    {then or 'return'}\n"
    )


async def test_second_run_over_the_same_data_changes_nothing(stack: Stack, source: Source) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    before = await stack.records(connection)

    result = await stack.run_sync(connection)

    assert result.counts == {"Issue": {"added": 0, "updated": 0, "deleted": 0, "unchanged": 250}}
    assert await stack.records(connection) == before


async def test_one_change_at_the_source_is_one_updated_record(stack: Stack, source: Source) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    cursor = (await stack.records(connection))[-1]["_nango_metadata"]["cursor"]

    source.records[122]["title"] = "Changed"
    result = await stack.run_sync(connection)

    assert result.counts["Issue"] == {"added": 0, "updated": 1, "deleted": 0, "unchanged": 249}
    (changed,) = await stack.records(connection, after_cursor=cursor)
    assert (changed["id"], changed["title"]) == ("123", "Changed")
    assert changed["_nango_metadata"]["last_action"] == "UPDATED"


async def test_deleted_record_keeps_its_payload_and_comes_back_as_added(
    stack: Stack, source: Source
) -> None:
    delete = "await nango.batch_delete([{'id': 'a'}], 'Issue')"
    await stack.deploy(project(saving("[{'id': 'a', 'title': 'A'}]", delete)))
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)

    (deleted,) = await stack.records(connection)
    assert deleted["title"] == "A"
    assert deleted["_nango_metadata"]["last_action"] == "DELETED"
    assert await stack.records(connection, filters=[RecordFilter.ADDED]) == []

    await stack.deploy(project(saving("[{'id': 'a', 'title': 'A'}]")))
    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["added"] == 1
    (back,) = await stack.records(connection)
    assert back["_nango_metadata"]["last_action"] == "ADDED"
    assert back["_nango_metadata"]["deleted_at"] is None


@pytest.mark.parametrize(
    "text",
    ["naïve 日本 🎉", "a\\x00b", "line\\nbreak \\u2028", '\\"quoted\\" \\\\ back'],
    ids=["unicode", "nul", "control", "quotes"],
)
async def test_odd_text_survives_in_ids_and_payloads(
    stack: Stack, source: Source, text: str
) -> None:
    literal = f'"{text}"'
    await stack.deploy(project(saving(f"[{{'id': {literal}, 'title': {literal}}}]")))
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    (record,) = await stack.records(connection)
    meant = eval(literal)
    assert record["title"] == meant
    assert record["id"] == meant.replace("\0", "")


async def test_duplicate_ids_of_a_batch_are_logged_and_the_first_is_kept(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project(saving("[{'id': 'a', 'title': 'first'}, {'id': 'a', 'title': 'second'}]"))
    )
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 1
    assert [r["title"] for r in await stack.records(connection)] == ["first"]
    run_id = handle.result_run_id or ""
    (line,) = await stack.container.database.runs.logs(run_id)
    assert line.level == "warn"
    assert "first of each was kept: a" in line.message


async def test_more_than_a_thousand_records_in_one_call_are_saved_in_batches(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(saving("[{'id': str(n), 'title': 't'} for n in range(1, 2502)]")))
    connection = await stack.connect(source.url)

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["added"] == 2501
    assert len(await stack.records(connection)) == 2501
