"""`batch_update`, `batch_delete` with a moment, and merging strategies, as scripts use them."""

from __future__ import annotations

import asyncio
import threading

import pytest
from temporalio.client import WorkflowFailureError
from werkzeug import Response

from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

CONFIG_FIELDS = "    title: string\n    owner?: object\n    tags?: string[]\n"


def with_fields(script: str) -> dict[str, str]:
    """A project whose `Issue` has more than a title."""
    files = project(script)
    config = files["nango.yaml"].replace("    title: string\n", CONFIG_FIELDS, 1)
    return files | {"nango.yaml": config}


async def messages(stack: Stack, run_id: str) -> list[tuple[str, str]]:
    lines = await stack.container.database.runs.logs(run_id)
    return [(line.level, line.message) for line in lines]


async def test_partial_records_are_merged_into_those_that_are_there(
    stack: Stack, source: Source
) -> None:
    script = """
    async def fetch_data(nango):
        nango.set_logger(level="debug")
        await nango.batch_save([
            {"id": "a", "title": "A", "owner": {"name": "x", "mail": "y"}, "tags": ["1", "2"]},
            {"id": "b", "title": "B"},
            {"id": "gone", "title": "G"},
        ], "Issue")
        await nango.batch_delete([{"id": "gone"}], "Issue")
        await nango.batch_update([
            {"id": "a", "owner": {"mail": "z"}, "tags": ["3"]},
            {"id": "b", "title": "B"},
            {"id": "gone", "title": "back"},
            {"id": "unknown", "title": "U"},
        ], "Issue")
    """
    await stack.deploy(with_fields(script))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"] == {"added": 3, "updated": 1, "deleted": 1, "unchanged": 1}
    records = {r["id"]: r for r in await stack.records(connection)}
    assert set(records) == {"a", "b", "gone"}
    assert records["a"]["owner"] == {"name": "x", "mail": "z"}
    assert records["a"]["tags"] == ["3"]
    assert records["a"]["_nango_metadata"]["last_action"] == "UPDATED"
    assert records["gone"]["_nango_metadata"]["last_action"] == "DELETED"
    assert [m for _, m in await messages(stack, handle.result_run_id or "")] == [
        "update: 2 records of Issue were left alone, since they are not there or others changed "
        "them meanwhile"
    ]


async def test_a_deletion_keeps_the_moment_that_the_source_gives(
    stack: Stack, source: Source
) -> None:
    script = """
    async def fetch_data(nango):
        await nango.batch_save([{"id": "a", "title": "A"}], "Issue")
        await nango.batch_delete(
            [{"id": "a", "title": "ignored", "deletedAt": "2026-01-31T12:00:00+01:00"}], "Issue"
        )
    """
    await stack.deploy(project(script))
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    (record,) = await stack.records(connection)
    assert record["title"] == "A"
    assert record["_nango_metadata"]["deleted_at"] == "2026-01-31T11:00:00.000000+00:00"


STRATEGY = """
async def fetch_data(nango):
    await nango.set_merging_strategy({{"strategy": "{strategy}"}}, "Issue")
    await nango.set_merging_strategy({{"strategy": "override"}}, "Issue")
    await nango.get("/issues")
    await nango.batch_save([{{"id": i, "title": "as it was fetched"}} for i in "abc"], "Issue")
    await nango.batch_save([{{"id": "b", "title": "once more"}}], "Issue")
"""


@pytest.mark.parametrize(
    ("strategy", "title"),
    [("ignore_if_modified_after", "by the webhook"), ("override", "as it was fetched")],
)
async def test_what_others_changed_during_the_run_is_left_alone_or_overridden(
    stack: Stack, source: Source, strategy: str, title: str
) -> None:
    await stack.deploy(project(STRATEGY.format(strategy=strategy)))
    connection = await stack.connect(source.url)
    target = stack.record_set(connection)
    await stack.save(target, {"id": "a", "title": "old"}, {"id": "b", "title": "old"})
    asked, release = threading.Event(), threading.Event()

    def wait(_: int) -> Response | None:
        asked.set()
        release.wait(20)
        return None

    source.before = wait
    handle = await stack.start_sync(connection)
    await asyncio.to_thread(asked.wait, 20)
    await stack.save(target, {"id": "a", "title": "by the webhook"})
    release.set()
    await handle.result()

    titles = {r["id"]: r["title"] for r in await stack.records(connection)}
    # What the run itself wrote last it may write again.
    assert titles == {"a": title, "b": "once more", "c": "as it was fetched"}
    assert (
        "warn",
        "Issue has a merging strategy already; 'override' is ignored.",
    ) in await messages(stack, handle.result_run_id or "")


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("await nango.get('/issues')", "merging_strategy_too_late"),
        ("await nango.batch_save([], 'Issue')", "merging_strategy_too_late"),
        ("strategy = 'newest'", "invalid_options"),
        ("model = 'Other'", "unknown_model"),
    ],
)
async def test_a_merging_strategy_comes_first_and_is_one_of_two(
    stack: Stack, source: Source, before: str, code: str
) -> None:
    script = f"""
    async def fetch_data(nango):
        strategy, model = "ignore_if_modified_after", "Issue"
        {before}
        await nango.set_merging_strategy({{"strategy": strategy}}, model)
    """
    await stack.deploy(project(script))
    handle = await stack.start_sync(await stack.connect(source.url))

    with pytest.raises(WorkflowFailureError):
        await handle.result()

    assert (await stack.run(handle)).error["type"] == code


async def test_of_an_id_that_comes_twice_in_a_call_the_first_is_kept_however_long_it_is(
    stack: Stack, source: Source
) -> None:
    script = """
    async def fetch_data(nango):
        records = [{"id": str(n), "title": "first"} for n in range(1_500)]
        await nango.batch_save([*records, {"id": "3", "title": "later"}], "Issue")
    """
    await stack.deploy(project(script))
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["added"] == 1_500
    (record,) = await stack.records(connection, ids=["3"])
    assert record["title"] == "first"
    told = await messages(stack, handle.result_run_id or "")
    assert any("the first of each was kept: 3" in message for _, message in told)
