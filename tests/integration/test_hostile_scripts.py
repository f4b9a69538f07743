"""Whatever a script raises, returns or prints, its run ends once, and its worker goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from werkzeug import Response

from perdure.temporal.failures import describe_failure
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

HEAD = """
import asyncio, sys
import models
from models import Issue
from perdure import ActionError
"""
FAILURES = {
    "surrogate": ("    raise RuntimeError('\\ud800')", "script_internal_error"),
    "unshowable": ("    raise Silent()", "script_internal_error"),
    "odd payload": ("    raise ActionError({'x': object()})", "action_script_runtime_error"),
    "exit": ("    sys.exit(3)", "script_internal_error"),
    "exit in a task": ("    await asyncio.gather(leave())", "script_internal_error"),
    "base exception": ("    raise Base()", "script_internal_error"),
    "continue as new": (
        "    from temporalio import workflow\n    workflow.continue_as_new()",
        "script_internal_error",
    ),
    "recursion": ("    await fetch_data(nango)", "script_internal_error"),
    "state on a model": ("    Issue.seen = 1", "script_internal_error"),
    "state on models.py": ("    models.seen = 1", "script_internal_error"),
    "odd record": ("    await nango.batch_save([{'id': 1, 'x': object()}], 'Issue')", None),
    "step returns no json": ("    await nango.run(odd)", "script_internal_error"),
    "step exits": ("    await nango.run(sys_exit)", "script_internal_error"),
    "step surrogate": ("    await nango.run(surrogate)", "script_internal_error"),
    "step action error": ("    await nango.run(action_error)", "action_script_runtime_error"),
}
TAIL = """

class Silent(Exception):
    def __str__(self):
        raise ValueError

class Base(BaseException):
    pass

async def leave():
    sys.exit(4)

def odd():
    return object()

def sys_exit():
    sys.exit(1)

def surrogate():
    raise RuntimeError("\\ud800")

def action_error():
    raise ActionError({"code": "mine"})
"""


async def failure(stack: Stack, source: Source, script: str) -> dict[str, Any]:
    await stack.deploy(project(script))
    handle = await stack.start_sync(await stack.connect(source.url))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    events = (await handle.fetch_history()).events
    assert not [e for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED]
    return describe_failure(caught.value)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", FAILURES)
async def test_run_fails_once(stack: Stack, source: Source, case: str) -> None:
    body, code = FAILURES[case]

    error = await failure(stack, source, f"{HEAD}async def fetch_data(nango):\n{body}\n{TAIL}")

    assert code is None or error["type"] == code
    if case == "step action error":
        assert error["payload"] == {"code": "mine"}


async def test_odd_log_lines_are_written(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            f"{HEAD}async def fetch_data(nango):\n"
            "    await nango.log('a\\ud800b', b'\\xff', Silent(), level='warning')\n"
            f"{TAIL}"
        )
    )
    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    (line,) = await stack.container.database.runs.logs(handle.result_run_id or "")

    assert line.level == "warn"
    assert line.message.startswith("a\N{REPLACEMENT CHARACTER}b")


async def test_half_an_emoji_from_an_api_is_replaced(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            "async def fetch_data(nango):\n"
            "    data = (await nango.get(endpoint='/odd')).data\n"
            "    await nango.batch_save([{'id': '1', 'title': data['x']}], 'Issue')\n"
        )
    )
    answer = Response(b'{"x": "a\\ud83d b"}', content_type="application/json")
    source.server.expect_request("/odd").respond_with_response(answer)
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    (record,) = await stack.records(connection)
    assert record["title"] == "a\N{REPLACEMENT CHARACTER} b"


async def test_blocking_steps_do_not_block_the_worker(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            """
            import asyncio, time

            for X in range(300_000):
                pass

            async def block(n: int) -> int:
                time.sleep(4)
                return n

            async def fetch_data(nango):
                numbers = await asyncio.gather(*(nango.run(block, n) for n in range(8)))
                records = [{"id": str(n), "title": "t"} for n in numbers if n]
                await nango.batch_save(records, "Issue")
            """
        )
    )
    connection = await stack.connect(source.url)
    started = time.monotonic()

    result = await stack.run_sync(connection)

    assert result.counts["Issue"]["added"] == 7
    # It would be 32 seconds one after the other.
    assert time.monotonic() - started < 28


async def test_paths_are_computed_and_not_looked_up(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            """
            import os
            import os.path
            from os.path import join

            async def fetch_data(nango):
                path = os.path.join("a", "b") + join("c", "d") + os.sep
                await nango.batch_save([{"id": "1", "title": path}], "Issue")
                os.path.expandvars("$HOME")
            """
        )
    )
    connection = await stack.connect(source.url)

    with pytest.raises(WorkflowFailureError) as caught:
        await stack.run_sync(connection)

    assert describe_failure(caught.value)["forbidden"] == "os.path.expandvars"
    assert (await stack.records(connection))[0]["title"] == "a/bc/d/"
