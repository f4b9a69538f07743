"""Whoever follows the cursor ends up with what the cache holds, however many write meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import orjson
import pytest

from perdure.db.database import Database
from perdure.db.records import RecordSet
from perdure.records.prepare import prepare_batch, prepare_deletion, prepare_update
from tests.support.project import project
from tests.support.record_counts import live_count
from tests.support.source import Source, issues
from tests.support.stack import Stack

FULL = """
from perdure import NangoSync


async def fetch_data(nango: NangoSync) -> None:
    await nango.track_deletes_start("Issue")
    async for page in nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    ):
        await nango.batch_save([{"id": i["id"], "title": i["title"]} for i in page], "Issue")
    await nango.track_deletes_end("Issue")
"""


class Copy:
    """What a consumer keeps who follows the cursor."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.held: dict[str, dict[str, Any]] = {}
        self.changes = 0

    async def follow(self, database: Database, target: RecordSet) -> bool:
        """Take the next changes; whether there were any."""
        page = await database.records.list(target, after_cursor=self.cursor, limit=37)
        for record in map(orjson.loads, page.records):
            self.changes += 1
            self.cursor = record["_nango_metadata"]["cursor"]
            if record["_nango_metadata"]["last_action"] == "DELETED":
                self.held.pop(record["id"], None)
            else:
                self.held[record["id"]] = record
        return bool(page.records)


async def live_records(database: Database, target: RecordSet) -> dict[str, dict[str, Any]]:
    page = await database.records.list(target, limit=10_000)
    return {
        record["id"]: record
        for record in map(orjson.loads, page.records)
        if record["_nango_metadata"]["deleted_at"] is None
    }


async def tell(database: Database, target: RecordSet, chance: random.Random) -> None:
    """Write as a webhook would: save, update or delete a few records."""
    ids = [str(n) for n in chance.sample(range(1, 600), 20)]
    pick = chance.random()
    if pick < 0.5:
        batch = [{"id": i, "title": f"told by webhook {chance.random()}"} for i in ids]
        await database.records.save(target, prepare_batch(batch))
    elif pick < 0.8:
        partial = [{"id": i, "seen": chance.random()} for i in ids]
        await database.records.update(target, prepare_update(partial))
    else:
        await database.records.delete(target, prepare_deletion([{"id": i} for i in ids]))


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.timeout(180)
async def test_copy_of_a_reader_equals_the_cache_after_two_writers(
    stack: Stack, source: Source, seconds: int
) -> None:
    source.records = issues(500)
    await stack.deploy(project(FULL))
    connection = await stack.connect(source.url)
    database, target = stack.container.database, RecordSet(connection.key, "Issue")
    copy, chance = Copy(), random.Random(7)
    until = time.monotonic() + seconds
    over = asyncio.Event()
    runs = writes = 0

    async def sync() -> None:
        nonlocal runs
        # On a slow machine one run takes longer than that.
        while time.monotonic() < until or runs < 2:
            for record in chance.sample(source.records, 50):
                record["title"] = f"changed at the source {chance.random()}"
            if chance.random() < 0.5:
                source.records = chance.sample(source.records, len(source.records) - 5)
            await stack.run_sync(connection)
            runs += 1
        over.set()

    async def webhook() -> None:
        nonlocal writes
        while not over.is_set():
            await tell(database, target, chance)
            writes += 1

    async def read() -> None:
        while not over.is_set():
            if not await copy.follow(database, target):
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        for task in (sync(), webhook(), webhook(), read()):
            group.create_task(task)
    while await copy.follow(database, target):
        pass

    cache = await live_records(database, target)
    assert runs >= 2
    assert writes >= 10
    assert copy.changes > 500
    assert copy.held == cache
    assert await live_count(database, target) == len(cache)
