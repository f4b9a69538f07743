"""A script that fails, fails its run once, and says where."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle

from perdure.db.runs import RunStatus
from perdure.temporal.failures import describe_failure
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


async def failure_of(handle: WorkflowHandle) -> dict:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    return describe_failure(caught.value)


async def task_failures(handle: WorkflowHandle) -> int:
    history = await handle.fetch_history()
    failed = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    return sum(event.event_type == failed for event in history.events)


async def test_exception_names_file_and_line_and_keeps_what_was_saved(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project(
            """
            async def fetch_data(nango):
                await nango.batch_save([{"id": "1", "title": "one"}], "Issue")
                convert({"id": "2"})


            def convert(raw):
                return raw["title"].upper()
            """
        )
    )
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    error = await failure_of(handle)

    assert error["type"] == "script_internal_error"
    assert error["message"] == "tracker/syncs/issues.py:8: KeyError: 'title'"
    assert (error["file"], error["line"]) == ("tracker/syncs/issues.py", 8)
    assert error["traceback"] == (
        "Traceback (most recent call last):\n"
        '  File "tracker/syncs/issues.py", line 4, in fetch_data\n'
        '    convert({"id": "2"})\n'
        '  File "tracker/syncs/issues.py", line 8, in convert\n'
        '    return raw["title"].upper()\n'
        "KeyError: 'title'"
    )
    assert await task_failures(handle) == 0
    run = await stack.run(handle)
    assert (run.status, run.error) == (RunStatus.FAILED, error)
    assert [record["id"] for record in await stack.records(connection)] == ["1"]
    history = await handle.fetch_history()
    failure = history.events[-1].workflow_execution_failed_event_attributes.failure
    assert 'File "tracker/syncs/issues.py", line 8, in convert' in failure.stack_trace


FORBIDDEN = {
    "open": ("open('/etc/hostname')", "open", "nango.run"),
    "path": ("__import__('pathlib').Path('/etc/hostname').read_text()", "pathlib", "nango.run"),
    "httpx": ("httpx.get('http://127.0.0.1:9/')", "httpx.get", "nango.get"),
    "urllib": ("urllib.request.urlopen('http://127.0.0.1:9/')", "urllib", "nango.get"),
    "socket": ("socket.create_connection(('127.0.0.1', 9))", "socket", "nango.get"),
    "thread": ("threading.Thread(target=print).start()", "thread", "asyncio.gather"),
    "to_thread": ("await asyncio.to_thread(print)", "asyncio.to_thread", "asyncio.gather"),
    "sleep": ("time.sleep(5)", "time.sleep", "asyncio.sleep"),
    "process": ("subprocess.run(['true'])", "subprocess", "nango.run"),
    "environ": ("os.environ['HOME']", "os.environ", "metadata"),
    "getenv": ("os.getenv('HOME')", "os.getenv", "metadata"),
    "secrets": ("secrets.token_hex()", "secrets", "uuid"),
}


@pytest.mark.parametrize("case", FORBIDDEN)
async def test_forbidden_call_fails_at_once_with_a_remedy(
    stack: Stack, source: Source, case: str
) -> None:
    call, name, instead = FORBIDDEN[case]
    await stack.deploy(
        project(
            "import asyncio, os, secrets, socket, subprocess, threading, time\n"
            "import httpx, urllib.request\n"
            "async def fetch_data(nango):\n"
            f"    {call}\n"
        )
    )
    connection = await stack.connect(source.url)

    handle = await stack.start_sync(connection)
    error = await failure_of(handle)

    assert error["type"] == "forbidden_in_script", error
    assert error["message"].startswith("tracker/syncs/issues.py:4: a script cannot use ")
    assert name in error["message"]
    assert instead in error["message"]
    assert await task_failures(handle) == 0


FETCH_DATA = "async def fetch_data(nango):\n    pass\n"


@pytest.mark.parametrize(
    ("sync", "code", "line"),
    [
        (f"import no_such_module_anywhere\n{FETCH_DATA}", "script_import_error", 1),
        (f"x = 1\nraise RuntimeError('at import')\n{FETCH_DATA}", "script_internal_error", 2),
        ("from models import *\nasync def fetch(nango):\n    pass\n", "entry_point_missing", 1),
        ("fetch_data = print\n", "entry_point_invalid", 1),
    ],
)
async def test_script_that_cannot_be_loaded_fails_its_run(
    stack: Stack, source: Source, sync: str, code: str, line: int
) -> None:
    await stack.deploy(project(sync))
    handle = await stack.start_sync(await stack.connect(source.url))

    error = await failure_of(handle)

    assert (error["type"], error["file"], error["line"]) == (code, "tracker/syncs/issues.py", line)
    assert await task_failures(handle) == 0


async def test_script_may_handle_the_error_of_the_api(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            """
            from perdure import HttpError

            async def fetch_data(nango):
                try:
                    await nango.get(endpoint="/missing")
                except HttpError as error:
                    record = {"id": "1", "title": f"{error.status} {error.response.data}"}
                    await nango.batch_save([record], "Issue")
            """
        )
    )
    source.server.expect_request("/missing").respond_with_json({"reason": "gone"}, status=410)
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert (await stack.records(connection))[0]["title"] == "410 {'reason': 'gone'}"


async def test_unhandled_refusal_of_the_api_fails_the_run_with_the_answer(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project("async def fetch_data(nango):\n    await nango.get(endpoint='/missing')\n")
    )
    source.server.expect_request("/missing").respond_with_json({"reason": "gone"}, status=410)

    error = await failure_of(await stack.start_sync(await stack.connect(source.url)))

    assert error["type"] == "script_http_error"
    assert error["upstream"]["status"] == 410
    assert error["upstream"]["body"] == {"reason": "gone"}
    assert error["line"] == 2


async def test_record_without_id_names_its_index_and_saves_nothing(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project(
            """
            async def fetch_data(nango):
                records = [{"id": str(n), "title": "t"} for n in range(1, 1501)]
                records[1200] = {"title": "no id"}
                await nango.batch_save(records, "Issue")
            """
        )
    )
    connection = await stack.connect(source.url)

    error = await failure_of(await stack.start_sync(connection))

    assert error["type"] == "missing_id"
    assert "1200" in error["message"]
    assert await stack.records(connection) == []


async def test_model_that_is_not_the_syncs_own_is_refused(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            "async def fetch_data(nango):\n"
            "    model = 'Echo'\n"
            "    await nango.batch_save([{'id': '1', 'text': 'x'}], model)\n"
        )
    )

    error = await failure_of(await stack.start_sync(await stack.connect(source.url)))

    assert error["type"] == "unknown_model"
    assert "Issue" in error["message"]


@pytest.mark.timeout(150)
async def test_script_that_loops_for_ever_is_ended_and_the_worker_stays_healthy(
    stack: Stack, source: Source
) -> None:
    await stack.deploy(
        project("async def fetch_data(nango):\n    n = 0\n    while True:\n        n += 1\n")
    )
    looping = await stack.start_sync(await stack.connect(source.url))
    other = await Stack.create(stack.container)
    await other.deploy(project())

    result = await other.run_sync(await other.connect(source.url))
    error = await failure_of(looping)

    assert result.counts["Issue"]["added"] == 250
    assert error["type"] == "script_blocked"
    assert "tracker/syncs/issues.py:" in error["message"]
    assert "nango.run" in error["message"]
