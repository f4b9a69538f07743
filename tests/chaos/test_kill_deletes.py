"""The worker is killed while a full sync tracks deletes: what is there at the source stays here."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.support.dev import DevServer
from tests.support.source import Source, issues
from tests.support.tracked import source_ids, tracked

PAGES = 60


async def cache(dev: DevServer, connection_id: str) -> dict[str, str]:
    """Title by id of the records that are there."""
    records = await dev.records(connection_id)
    return {
        r["id"]: r["title"] for r in records if r["_nango_metadata"]["last_action"] != "DELETED"
    }


def at_source(source: Source) -> dict[str, str]:
    return {str(record["id"]): str(record["title"]) for record in source.records}


def change(source: Source, chance: random.Random) -> None:
    """Delete, change and add some records."""
    kept = [record for record in source.records if chance.random() > 0.15]
    for record in chance.sample(kept, len(kept) // 10):
        record["title"] = f"Changed {chance.random()}"
    new = issues(300)
    for record in new:
        record["id"] = f"n{chance.randrange(10**12)}"
    source.records = kept + new


async def started(dev: DevServer, connection_id: str, before: str | None) -> None:
    """Wait until a run begins that is not the one before."""
    async with asyncio.timeout(30):
        while True:
            run = await dev.latest_run(connection_id)
            if run is not None and run["id"] != before:
                return
            await asyncio.sleep(0.05)


async def kill_worker(dev: DevServer) -> None:
    killed = dev.kill("worker")
    async with asyncio.timeout(30):
        while dev.info["pids"]["worker"] in (killed, None):
            await asyncio.sleep(0.05)


async def sync_with_kills(
    dev: DevServer, source: Source, connection_id: str, moments: list[float]
) -> int:
    """Run the sync once; kill the worker each time so many seconds after it came back.

    Returns:
        How often it was killed while the run was under way.
    """
    there = source_ids(source) & set(await cache(dev, connection_id))
    before = await dev.latest_run(connection_id)
    await dev.trigger(connection_id)
    await started(dev, connection_id, before and before["id"])
    kills = 0
    for moment in moments:
        await asyncio.sleep(moment)
        run = await dev.latest_run(connection_id)
        assert run is not None
        if run["status"] != "running":
            break
        await kill_worker(dev)
        kills += 1
        assert there <= set(await cache(dev, connection_id)), "nothing is falsely deleted"
    run = await dev.finished_run(connection_id, timeout=150)
    assert run["status"] == "success", run
    assert await cache(dev, connection_id) == at_source(source)
    return kills


@pytest.mark.timeout(240)
async def test_a_worker_that_dies_does_not_delete_what_it_has_not_proven_absent(
    dev: DevServer, source: Source
) -> None:
    source.records = issues(PAGES * 100)
    await dev.deploy(tracked())
    await dev.connect(source.url, "one-kill")
    await sync_with_kills(dev, source, "one-kill", [])
    source.before = lambda _: time.sleep(0.03)
    change(source, random.Random(1))

    assert await sync_with_kills(dev, source, "one-kill", [1.5]) == 1

    run = await dev.latest_run("one-kill")
    assert run is not None
    assert run["counts"]["Issue"]["deleted"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_cache_equals_the_source_after_twenty_kills_at_random_moments(
    dev: DevServer, source: Source
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    print(f"seed {seed}")
    source.records = issues(PAGES * 100)
    await dev.deploy(tracked())
    await dev.connect(source.url, "many-kills")
    await sync_with_kills(dev, source, "many-kills", [])
    source.before = lambda _: time.sleep(0.05)
    kills = 0
    while kills < 20:
        change(source, chance)
        moments = [chance.uniform(0, 5) for _ in range(min(5, 20 - kills))]
        kills += await sync_with_kills(dev, source, "many-kills", moments)
        print(f"{kills} kills, {len(source.records)} records")
