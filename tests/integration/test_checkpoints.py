"""Checkpoints as scripts use them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from perdure.clock import utcnow
from perdure.db.checkpoints import Writer
from perdure.db.records import RecordSet
from perdure.db.resyncs import Restart
from perdure.records.prepare import prepare_batch
from perdure.temporal.failures import describe_failure
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

COUNTING = """
async def fetch_data(nango):
    found = await nango.get_checkpoint()
    n = found["n"] if found else 0
    await nango.log("found", found)
    await nango.save_checkpoint({"n": n + 1})
    metadata = await nango.get_metadata()
    if metadata.get("fail"):
        raise ValueError("as the metadata asks")
    if n == 2:
        await nango.clear_checkpoint()
"""


async def failed(stack: Stack, script: str, source: Source) -> dict[str, Any]:
    await stack.deploy(project(script))
    with pytest.raises(WorkflowFailureError) as caught:
        await stack.run_sync(await stack.connect(source.url))
    return describe_failure(caught.value)


async def test_next_run_goes_on_from_the_checkpoint_and_runs_tell_where_from_and_to(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(COUNTING))
    connection = await stack.connect(source.url)

    seen = []
    for _ in range(3):
        handle = await stack.start_sync(connection)
        await handle.result()
        seen.append((await stack.run(handle)).checkpoints)

    assert seen == [
        {"from": None, "to": {"n": 1}},
        {"from": {"n": 1}, "to": {"n": 2}},
        {"from": {"n": 2}, "to": None},
    ]


async def test_checkpoint_of_a_failed_run_stays(stack: Stack, source: Source) -> None:
    await stack.deploy(project(COUNTING))
    connection = await stack.connect(source.url, metadata={"fail": True})

    for expected in ({"n": 1}, {"n": 2}):
        handle = await stack.start_sync(connection)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        assert ((await stack.run(handle)).checkpoints or {})["to"] == expected


async def test_actions_have_checkpoints_of_their_own(stack: Stack, source: Source) -> None:
    action = """
    async def run_action(nango, input):
        found = await nango.get_checkpoint()
        await nango.save_checkpoint({"seen": input})
        return found
    """
    await stack.deploy(project(COUNTING, action))
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)

    outputs = [
        (await (await stack.start_action(connection, text)).result())["output"]
        for text in ("a", "b")
    ]

    assert outputs == [None, {"seen": "a"}]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("{'at': {'nested': 1}}", "checkpoint['at'] is dict"),
        ("{'at': None}", "checkpoint['at'] is NoneType"),
        ("{'at': float('nan')}", "checkpoint['at'] is nan"),
        ("{1: 'x'}", "key 1 is not a string"),
        ("['x']", "not list"),
        ("{'at': 'x' * 70_000}", "larger than 64 KiB"),
    ],
)
async def test_checkpoint_that_is_not_flat_is_refused(
    stack: Stack, source: Source, value: str, named: str
) -> None:
    script = f"async def fetch_data(nango):\n    await nango.save_checkpoint({value})\n"

    error = await failed(stack, script, source)

    assert error["type"] == "invalid_checkpoint"
    assert named in error["message"]
    assert (error["file"], error["line"]) == ("tracker/syncs/issues.py", 2)


async def test_checkpoint_with_a_credential_is_refused(stack: Stack, source: Source) -> None:
    script = """
    async def fetch_data(nango):
        key = (await nango.get_connection())["credentials"]["apiKey"]
        await nango.save_checkpoint({"next": "https://api.example/?key=" + key})
    """

    error = await failed(stack, script, source)

    assert error["type"] == "invalid_checkpoint"
    assert "key-of-acme" not in str(error)


async def test_run_whose_checkpoint_another_run_moved_fails_and_leaves_that_one(
    stack: Stack, source: Source
) -> None:
    script = """
    async def fetch_data(nango):
        await nango.get_checkpoint()
        await nango.get(endpoint="/issues")
        await nango.save_checkpoint({"n": 1})
    """
    await stack.deploy(project(script))
    connection = await stack.connect(source.url)
    asked, go_on = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        asked.set()
        go_on.wait(30)

    source.before = hold
    handle = await stack.start_sync(connection)
    await asyncio.to_thread(asked.wait, 30)
    checkpoints = stack.container.database.checkpoints
    other = Writer("another-run", "e:1", utcnow())
    await checkpoints.put(connection.key, "sync:issues", {"n": 7}, expected=0, writer=other)
    go_on.set()

    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    error = describe_failure(caught.value)
    assert (error["type"], error["line"]) == ("checkpoint_conflict", 5)
    assert (await checkpoints.get(connection.key, "sync:issues")).value == {"n": 7}


FROM_A_PLACE = """
async def fetch_data(nango):
    found = await nango.get_checkpoint()
    n = found["n"] if found else 1
    while n <= 4:
        await nango.batch_save([{"id": str(n), "title": str(n)}], "Issue")
        n += 1
        await nango.save_checkpoint({"n": n})
        if n == 3 and (await nango.get_metadata()).get("fail"):
            raise ValueError("as the metadata asks")
    await nango.clear_checkpoint()
"""


async def test_run_that_went_on_from_a_checkpoint_deletes_nothing_it_has_not_seen(
    stack: Stack, source: Source
) -> None:
    files = project(FROM_A_PLACE)
    files["nango.yaml"] = files["nango.yaml"].replace(
        "sync_type: full", "sync_type: full\n        track_deletes: true"
    )
    await stack.deploy(files)
    connection = await stack.connect(source.url, metadata={"fail": True})
    with pytest.raises(WorkflowFailureError):
        await stack.run_sync(connection)
    await stack.connect(source.url, metadata={"fail": False})

    handle = await stack.start_sync(connection)
    result = await handle.result()

    assert result.counts["Issue"]["deleted"] == 0
    live = [r for r in await stack.records(connection) if not r["_nango_metadata"]["deleted_at"]]
    assert [r["id"] for r in live] == ["1", "2", "3", "4"]
    (line,) = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert "went on from the checkpoint" in line.message

    # The next one begins at the beginning and may delete.
    await stack.container.database.records.save(
        RecordSet(connection.key, "Issue"),
        prepare_batch([{"id": "stray", "title": "x"}]),
    )
    assert (await stack.run_sync(connection)).counts["Issue"]["deleted"] == 1


async def test_run_that_empties_the_cache_and_fails_leaves_no_checkpoint_behind(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(FROM_A_PLACE))
    connection = await stack.connect(source.url, metadata={"fail": True})
    database = stack.container.database
    await database.syncs.ensure(connection.key, "issues")
    await database.resyncs.request(connection.key, "issues", "empty_cache")
    with pytest.raises(WorkflowFailureError):
        await stack.run_sync(connection)
    await stack.connect(source.url, metadata={"fail": False})

    await stack.run_sync(connection)

    assert [r["id"] for r in await stack.records(connection)] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("restart", ["reset", "empty_cache"])
async def test_reset_begins_without_a_checkpoint_and_keeps_its_own(
    stack: Stack, source: Source, restart: Restart
) -> None:
    await stack.deploy(project(COUNTING))
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    await stack.container.database.resyncs.request(connection.key, "issues", restart)

    handle = await stack.start_sync(connection)
    await handle.result()

    assert (await stack.run(handle)).checkpoints == {"from": None, "to": {"n": 1}}
    found = await stack.container.database.checkpoints.get(connection.key, "sync:issues")
    assert found.value == {"n": 1}
