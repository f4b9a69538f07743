"""Histories that are handed out, and runs that are replayed from them on another machine."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowFailureError

from config.compile import compile_project
from config.scripts import Project
from perdure.app.replay import Replay, replay
from perdure.temporal.codec import SECRET_MARK
from tests.api.calls import connect, error_of
from tests.support.incoming import SAVING, handled_by, rules, sweep, take
from tests.support.project import PAGINATED, project
from tests.support.source import Source
from tests.support.stack import Stack

FAILING = """
async def fetch_data(nango):
    token = await nango.get_token()
    await nango.log("with", token["apiKey"])
    answer = await nango.get("/issues")
    await nango.batch_save([{"id": "1", "title": "a"}], "Issue")
    raise ValueError("no such thing")
"""
MENDED = FAILING.replace(
    'raise ValueError("no such thing")',
    'await nango.batch_save([{"id": "2", "title": "b"}], "Issue")',
)
OTHER = FAILING.replace('nango.get("/issues")', "nango.get_metadata()")


def compiled(files: dict[str, str]) -> Project:
    return compile_project(files).project


async def history_of(
    client: httpx.AsyncClient, stack: Stack, source: Source, script: str
) -> dict[str, Any]:
    """Run a sync to its end and return its history."""
    await stack.deploy(project(script))
    handle = await stack.start_sync(await stack.connect(source.url))
    with suppress(WorkflowFailureError):
        await handle.result()
    answer = await client.get(f"/runs/{handle.result_run_id}/history")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_run_replays_from_what_is_handed_out(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    document = await history_of(live, stack, source, PAGINATED)

    found = await replay(document)

    assert (found.mismatch, found.error) == (None, None)
    assert len(found.steps) == found.recorded
    (first,) = [s for s in found.steps if s.summary.endswith("page 1")]
    assert first.place == "tracker/syncs/issues.py:7"


async def test_a_failed_run_tells_again_where_it_failed(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    document = await history_of(live, stack, source, FAILING)

    found = await replay(document)

    assert found.mismatch is None
    assert found.error is not None
    assert (found.error["file"], found.error["line"]) == ("tracker/syncs/issues.py", 7)
    assert 'raise ValueError("no such thing")' in found.error["traceback"]
    assert isinstance(found.exception.__context__, ValueError)


async def test_credentials_are_masked_in_what_is_handed_out(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    document = await history_of(live, stack, source, FAILING)

    def texts(value: Any) -> str:
        if isinstance(value, dict):
            return " ".join(
                b64decode(inner).decode() if key == "data" else texts(inner)
                for key, inner in value.items()
            )
        return " ".join(map(texts, value)) if isinstance(value, list) else str(value)

    shown = texts(document["history"])
    assert SECRET_MARK in str(document["history"])
    assert "key-of-acme" not in shown
    assert '"apiKey": "***"' in shown
    assert "activityTaskScheduledEventAttributes" in str(document["history"])
    assert '"endpoint"' not in shown, "inputs of steps are left out"


async def local(client: httpx.AsyncClient, stack: Stack, source: Source, script: str) -> Replay:
    document = await history_of(client, stack, source, FAILING)
    return await replay(document, local=compiled(project(script)))


async def test_a_mended_script_fits_and_says_what_it_does_next(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    found = await local(live, stack, source, MENDED)

    assert (found.mismatch, found.error, found.is_part) == (None, None, True)
    assert [(s.name, s.place) for s in found.following] == [
        # With what was saved in the same turn.
        ("batch_save", "tracker/syncs/issues.py:6")
    ]


async def test_a_script_that_is_not_mended_fails_again(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    found = await local(live, stack, source, FAILING.replace("no such", "still no such"))

    assert found.mismatch is None
    assert found.error is not None
    assert "still no such thing" in found.error["message"]


async def test_a_script_is_told_the_answer_that_made_the_run_fail(
    live: httpx.AsyncClient, stack: Stack, source: Source, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/nothing").respond_with_json({}, status=404)
    asking = """
async def fetch_data(nango):
    await nango.get("/nothing")
"""
    catching = """
async def fetch_data(nango):
    try:
        await nango.get("/nothing")
    except Exception as error:
        raise RuntimeError(f"told {error.status}")
"""
    document = await history_of(live, stack, source, asking)

    found = await replay(document, local=compiled(project(catching)))

    assert (found.mismatch, found.error) == (None, None)
    assert [s.summary for s in found.following] == ["GET /nothing"]
    assert found.same_answer is not None
    assert found.same_answer.error is not None
    assert found.same_answer.error["message"].endswith("RuntimeError: told 404")


async def test_a_script_that_does_something_else_does_not_fit(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    found = await local(live, stack, source, OTHER)

    assert found.mismatch is not None
    assert any(step.name == "get_metadata" for step in found.steps)


async def test_an_action_replays(live: httpx.AsyncClient, stack: Stack, source: Source) -> None:
    await connect(live, source.url)
    await stack.deploy(project())
    headers = {"Connection-Id": "acme", "Provider-Config-Key": "tracker"}
    body = {"action_name": "echo", "input": {"text": "a"}}
    await live.post("/action/trigger", json=body, headers=headers)
    (run,) = (await live.get("/runs")).json()["runs"]
    document = (await live.get(f"/runs/{run['id']}/history")).json()

    found = await replay(document)

    assert (found.mismatch, found.error) == (None, None)


async def test_a_webhook_replays_and_says_whether_a_mended_script_fits(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    asking = f"{SAVING}    await nango.get_metadata()\n"
    failing = f"{asking}    raise ValueError('no such thing')\n"
    await stack.connect(source.url)
    await stack.deploy(handled_by(failing))
    await rules(stack, signature=None)
    await take(stack, {"id": 1, "title": "a"})
    await sweep(stack)
    runs: list[Any] = []
    while not runs or runs[0]["status"] == "running":
        runs = (await live.get("/runs")).json()["runs"]
    # The run is noted as ended a moment before its workflow ends.
    with pytest.raises(WorkflowFailureError):
        await stack.container.temporal.get_workflow_handle(runs[0]["workflow_id"]).result()
    document = (await live.get(f"/runs/{runs[0]['id']}/history")).json()

    found = await replay(document)
    mended = await replay(document, local=compiled(handled_by(asking)))
    again = await replay(document, local=compiled(handled_by(failing)))

    assert (found.mismatch, len(found.steps)) == (None, found.recorded)
    assert found.error is not None
    assert found.error["message"].endswith("ValueError: no such thing")
    assert (mended.mismatch, mended.error, mended.is_part) == (None, None, True)
    assert again.mismatch is None
    assert again.error is not None


async def test_unknown_run_has_no_history(live: httpx.AsyncClient) -> None:
    assert error_of(await live.get("/runs/nothing/history")) == (404, "unknown_run")


async def test_a_dry_run_replays(live: httpx.AsyncClient, stack: Stack, source: Source) -> None:
    await connect(live, source.url)
    body = {"files": project(PAGINATED), "script": "issues", "connection_id": "acme"}
    run_id = (await live.post("/dry-runs", json=body)).json()["run_id"]
    while (await live.get(f"/dry-runs/{run_id}")).json()["run"]["status"] == "running":
        pass
    document = (await live.get(f"/runs/{run_id}/history")).json()

    assert (await replay(document)).mismatch is None
