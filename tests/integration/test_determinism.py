"""What people naturally write in a script gives the same answers when its history is replayed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from perdure.app.registrations import SYNC_WORKFLOWS
from tests.support.project import PAGINATED, project
from tests.support.source import Source
from tests.support.stack import Stack

NATURAL = """
import asyncio, random, time, uuid
from datetime import date, datetime, timezone
from uuid import uuid4
from pydantic import BaseModel

IMPORTED_AT = time.time()


class Stamp(BaseModel):
    at: datetime
    day: date


async def fetch_data(nango):
    values = {
        "now": datetime.now(timezone.utc).isoformat(),
        "naive": datetime.utcnow().isoformat(),
        "today": str(date.today()),
        "time": time.time(),
        "imported_at": IMPORTED_AT,
        "random": random.random(),
        "choice": random.choice(range(1000)),
        "own": random.Random().random(),
        "uuid": str(uuid4()),
        "uuid1": str(uuid.uuid1()),
        "stamp": Stamp(at=datetime.now(), day=date.today()).model_dump(mode="json"),
        "is_datetime": isinstance(datetime.fromisoformat("2026-01-02"), datetime),
    }
    started = time.time()
    await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))
    values["slept"] = time.time() - started
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(nango.log("task", number))
    await nango.batch_save([{"id": values["uuid"], "title": "t", **values}], "Issue")
"""


async def replay(stack: Stack, history: WorkflowHistory) -> None:
    plugin_config = stack.container.temporal.config(active_config=True)
    replayer = Replayer(workflows=SYNC_WORKFLOWS, plugins=plugin_config["plugins"])
    await replayer.replay_workflow(history)


async def test_clock_and_randomness_of_a_script_are_the_workflows(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(project(NATURAL))
    connection = await stack.connect(source.url)
    before = datetime.now(UTC)

    handle = await stack.start_sync(connection)
    await handle.result()

    (record,) = await stack.records(connection)
    now = datetime.fromisoformat(record["now"])
    assert before - timedelta(seconds=1) <= now <= datetime.now(UTC)
    assert record["naive"] == now.replace(tzinfo=None).isoformat()
    assert record["today"] == str(now.date())
    assert abs(record["time"] - now.timestamp()) < 0.001
    assert record["imported_at"] == record["time"]
    assert record["is_datetime"] is True
    assert record["slept"] >= 2
    # The record stands in the history as the input of a step: another value at replay would be
    # another record id, and the replay would fail.
    await replay(stack, await handle.fetch_history())


async def test_history_with_large_pages_replays(stack: Stack, source: Source) -> None:
    for record in source.records:
        record["title"] = "x" * 1_000
    await stack.deploy(project(PAGINATED))
    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()
    history = await handle.fetch_history()

    size = len(json.dumps(history.to_json_dict()))
    await replay(stack, history)

    assert size < 60_000, "pages belong outside the history"
    assert "xxxxxxxxxx" not in json.dumps(history.to_json_dict())


async def test_helper_step_runs_outside_the_sandbox_and_gives_typed_values(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project(
            """
            import threading
            from models import Issue
            from perdure import NangoSync


            def read_hosts(issue: Issue, times: int) -> list[Issue]:
                with open("/etc/passwd") as file:
                    assert file.read()
                name = threading.current_thread().name
                return [Issue(id=f"{issue.id}-{n}", title=name) for n in range(times)]


            async def fetch_data(nango: NangoSync) -> None:
                issues = await nango.run(read_hosts, Issue(id="a", title=""), times=2)
                assert all(isinstance(issue, Issue) for issue in issues), issues
                await nango.batch_save(issues, "Issue")
            """
        )
    )
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert sorted(r["id"] for r in await stack.records(connection)) == ["a-0", "a-1"]
