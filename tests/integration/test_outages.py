"""A source, or all workers, are away for long: the run waits, then goes on where it was.

Time is skipped, so that an hour takes no hour.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError
from werkzeug import Response

from perdure.db.runs import RunStatus
from perdure.temporal.failures import leaf_failure
from perdure.temporal.policies import backoff
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

ENDLESS = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
    await asyncio.Event().wait()
"""


async def waited(stack: Stack, source: Source) -> timedelta:
    """Sync to the end, check that all is there, and return how long that took in skipped time."""
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    handle = await stack.start_sync(connection)
    await handle.result()

    assert (await stack.run(handle)).status is RunStatus.SUCCESS
    assert len(await stack.records(connection)) == 250
    assert source.served == {1: 1, 2: 1, 3: 1}, "no page was fetched again"
    description = await handle.describe()
    assert description.close_time is not None
    return description.close_time - description.start_time


async def test_rate_limit_of_ten_minutes_is_waited_out(skipping: Stack, source: Source) -> None:
    refusals = [Response("slow down", 429, {"Retry-After": "600"})]
    source.before = lambda page: refusals.pop() if page == 2 and refusals else None

    took = await waited(skipping, source)

    assert timedelta(minutes=10) <= took < timedelta(minutes=11)


async def test_outage_of_an_hour_is_waited_out(skipping: Stack, source: Source) -> None:
    attempts, away = 0, timedelta()
    while away < timedelta(hours=1):
        attempts += 1
        away += backoff(attempts)
    refusals = [Response("away", 503) for _ in range(attempts)]
    source.before = lambda page: refusals.pop() if page == 2 and refusals else None

    took = await waited(skipping, source)

    assert timedelta(hours=1) <= took < timedelta(hours=1, minutes=15)
    assert not refusals


async def test_run_that_a_worker_takes_up_late_has_all_of_its_time(
    skipping: Stack, source: Source
) -> None:
    files = project(ENDLESS)
    files["nango.yaml"] = files["nango.yaml"].replace(
        "sync_type: full", "sync_type: full\n        run_timeout: 30m"
    )
    await skipping.deploy(files)
    connection = await skipping.connect(source.url)
    # Its first task comes two hours after its start, as where all workers were away.
    handle = await skipping.start_sync(connection, start_delay=timedelta(hours=2))

    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    assert leaf_failure(caught.value).type == "run_timeout"
    run = await skipping.run(handle)
    assert (run.status, run.counts["Issue"]["added"]) == (RunStatus.TIMEOUT, 1)
    description = await handle.describe()
    assert description.close_time is not None
    took = description.close_time - description.start_time
    assert timedelta(minutes=150) <= took < timedelta(minutes=151)
