"""Runs are pinned to the bundle they started with."""

from __future__ import annotations

import asyncio

from config.intervals import parse_runs
from tests.support.project import ECHO, WAITING, project
from tests.support.source import Source
from tests.support.stack import Stack

NEW = """
async def fetch_data(nango):
    await nango.batch_save([{"id": "new-1", "title": "new"}], "Issue")
"""


async def test_run_finishes_on_its_bundle_while_new_runs_use_the_new_one(
    stack: Stack, source: Source
) -> None:
    old = await stack.deploy(project(WAITING))
    connection = await stack.connect(source.url)
    slow = await stack.start_sync(connection)
    while not await stack.records(connection):
        await asyncio.sleep(0.05)

    new = await stack.deploy(project(NEW))
    other = await stack.connect(source.url, connection_id="other")
    quick = await stack.start_sync(other)
    await quick.result()
    saved_meanwhile = {record["id"] for record in await stack.records(connection)}
    await stack.go(connection)
    await slow.result()

    assert saved_meanwhile == {"1"}
    assert {record["id"] for record in await stack.records(connection)} == {"1", "2"}
    assert {record["id"] for record in await stack.records(other)} == {"new-1"}
    assert (await stack.run(slow)).bundle_hash == old
    assert (await stack.run(quick)).bundle_hash == new


async def test_script_imports_modules_of_its_project(stack: Stack, source: Source) -> None:
    files = project(
        """
        from shared.mapping import to_issue
        from ..texts import GREETING
        import tracker.texts as texts
        from models import Issue

        async def fetch_data(nango):
            assert texts.GREETING is GREETING
            await nango.batch_save([to_issue({"key": "k1"}, GREETING)], "Issue")
        """
    )
    files["shared/mapping.py"] = (
        "from models import Issue\n"
        "def to_issue(raw, title):\n"
        "    return Issue(id=raw['key'], title=title)\n"
    )
    files["tracker/texts.py"] = "GREETING = 'hello'\n"
    await stack.deploy(files)
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert [(r["id"], r["title"]) for r in await stack.records(connection)] == [("k1", "hello")]


async def test_action_returns_what_its_script_returns(stack: Stack, source: Source) -> None:
    await stack.deploy(project(action=ECHO))
    connection = await stack.connect(source.url)

    result = await (await stack.start_action(connection, {"text": "hi"})).result()

    assert result["output"] == {"text": "hi"}


async def test_sync_that_is_no_longer_deployed_ends_without_running(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project())
    connection = await stack.connect(source.url)

    another = stack.sync_input(connection, "another")
    schedules = stack.container.schedules
    await schedules.ensure(another, parse_runs("every day"), auto_start=False)

    result = await stack.run_sync(connection, sync="another")

    assert result.skipped is not None
    assert await schedules.status(another) is None, "a schedule without a sync does not stay"
