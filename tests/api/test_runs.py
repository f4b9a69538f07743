"""Runs over REST."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from werkzeug import Response

from perdure.db.runs import LogLine, RunStart, RunStatus
from perdure.temporal.names import WorkflowType
from tests.api.calls import connect, deploy, error_of
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


async def add_run(stack: Stack, number: int = 0, **changes: Any) -> str:
    """Write the row of a run that Temporal has never heard of."""
    run_id = str(uuid.uuid4())
    facts = {
        "workflow_id": f"action/{run_id}",
        "kind": "action",
        "script": "echo",
        "started_at": BEGAN + timedelta(minutes=number),
        "integration": "tracker",
        "connection_id": "acme",
    }
    runs = stack.container.database.runs
    await runs.start(RunStart(id=run_id, environment_id=stack.environment.id, **(facts | changes)))
    return run_id


async def end_run(stack: Stack, run_id: str, status: RunStatus, seconds: int = 90) -> None:
    await stack.container.database.runs.finish(
        run_id, status, finished_at=BEGAN + timedelta(seconds=seconds)
    )


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/runs", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["runs"]


async def until(client: httpx.AsyncClient, condition: Any, **query: Any) -> dict[str, Any]:
    async def poll() -> dict[str, Any]:
        while True:
            for run in await listed(client, **query):
                if condition(run):
                    return run
            await asyncio.sleep(0.05)

    return await asyncio.wait_for(poll(), 30)


async def test_run_is_shown_with_its_log(api: httpx.AsyncClient, environment: Stack) -> None:
    run_id = await add_run(environment, workflow_id="sync/dev/git hub/a/b/issues/base", kind="sync")
    await environment.container.database.runs.append_logs(
        run_id, [LogLine(BEGAN, "warn", "careful", {"a": 1}), LogLine(BEGAN, "info", "done")]
    )
    await end_run(environment, run_id, RunStatus.SUCCESS)

    run = (await api.get(f"/runs/{run_id}")).json()

    assert run == {
        "id": run_id,
        "workflow_id": "sync/dev/git hub/a/b/issues/base",
        "kind": "sync",
        "integration": "tracker",
        "connection_id": "acme",
        "script": "echo",
        "variant": "base",
        "bundle": None,
        "status": "success",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:01:30Z",
        "duration_s": 90.0,
        "counts": {},
        "error": None,
        "temporal_url": (
            "http://ui.example:8233/namespaces/default/workflows/"
            f"sync%2Fdev%2Fgit%20hub%2Fa%2Fb%2Fissues%2Fbase/{run_id}/history"
        ),
        "action_id": None,
        "waiting": None,
        "dry_run": False,
        "progress": None,
        "history": None,
        "checkpoints": None,
        "next_run_at": None,
        "held_deletes": [],
        "logs": [
            {"at": "2026-01-01T00:00:00Z", "level": "warn", "message": "careful", "data": {"a": 1}},
            {"at": "2026-01-01T00:00:00Z", "level": "info", "message": "done", "data": None},
        ],
    }


async def test_unknown_run_is_not_found(api: httpx.AsyncClient) -> None:
    assert error_of(await api.get("/runs/nothing")) == (404, "unknown_run")


async def test_cursor_leads_through_all_runs_newest_first(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    made = [await add_run(environment, number) for number in range(5)]
    for run_id in made:
        await end_run(environment, run_id, RunStatus.SUCCESS)

    seen, query = [], {"limit": 2}
    for _ in range(3):
        page = (await api.get("/runs", params=query)).json()
        seen += [run["id"] for run in page["runs"]]
        query["cursor"] = page["next_cursor"]

    assert seen == made[::-1]
    assert query["cursor"] is None
    assert error_of(await api.get("/runs?cursor=x")) == (400, "invalid_cursor")


async def test_runs_can_be_narrowed(api: httpx.AsyncClient, environment: Stack) -> None:
    sync = await add_run(environment, 1, kind="sync", script="issues", connection_id="globex")
    action = await add_run(environment, 2, integration="pay")
    await end_run(environment, sync, RunStatus.SUCCESS)
    await end_run(environment, action, RunStatus.FAILED)

    async def found(**query: str) -> list[str]:
        return [run["id"] for run in await listed(api, **query)]

    assert await found() == [action, sync]
    assert await found(kind="sync") == [sync]
    assert await found(script="echo") == [action]
    assert await found(connection_id="globex") == [sync]
    assert await found(integration="pay") == [action]
    assert await found(status="failed") == [action]
    assert error_of(await api.get("/runs?status=odd")) == (400, "invalid_query_params")


async def test_run_that_temporal_forgot_is_shown_as_failed_but_not_written_down(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    run_id = await add_run(environment)

    run = (await api.get(f"/runs/{run_id}")).json()

    assert (run["status"], run["error"]["type"]) == ("failed", "run_lost")
    row = await environment.container.database.runs.get(environment.environment.id, run_id)
    assert row.status is RunStatus.RUNNING


async def test_without_temporal_rows_are_shown_as_they_are(
    offline: httpx.AsyncClient, environment: Stack
) -> None:
    run_id = await add_run(environment)

    (run,) = await listed(offline)

    assert (run["id"], run["status"], run["waiting"]) == (run_id, "running", None)


async def started(stack: Stack, **options: Any) -> tuple[Any, str]:
    """Start an action that nobody executes, with its row."""
    workflow_id = f"action/{uuid.uuid4()}"
    handle = await stack.container.temporal.start_workflow(
        WorkflowType.ACTION, id=workflow_id, task_queue="perdure-nobody", **options
    )
    run_id = handle.result_run_id
    await stack.container.database.runs.start(
        RunStart(run_id, workflow_id, stack.environment.id, "action", "echo", BEGAN)
    )
    return handle, run_id


async def test_terminated_run_does_not_stay_running(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    handle, run_id = await started(environment)
    assert (await api.get(f"/runs/{run_id}")).json()["status"] == "running"

    await handle.terminate(reason="it looped at a.py:3")
    run = (await api.get(f"/runs/{run_id}")).json()

    assert run["status"] == "failed"
    assert run["error"] == {"type": "run_terminated", "message": "it looped at a.py:3"}
    row = await environment.container.database.runs.get(environment.environment.id, run_id)
    assert row.status is RunStatus.FAILED
    assert row.finished_at is not None
    assert await listed(api, status="running") == []


async def test_run_that_took_too_long_is_shown_as_timed_out(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    _, run_id = await started(environment, run_timeout=timedelta(milliseconds=200))

    run = await until(api, lambda found: found["status"] != "running")

    assert (run["id"], run["status"], run["error"]["type"]) == (run_id, "timeout", "run_timeout")


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ("async def run_action(nango, input):\n    return 1\n", "success", None),
        ("async def run_action(nango, input):\n    1 / 0\n", "failed", "script_internal_error"),
    ],
)
async def test_run_whose_waiter_died_is_mended(
    live: httpx.AsyncClient, stack: Stack, source: Source, script: str, status: str, code: str
) -> None:
    await deploy(live, project(action=script))
    await connect(live, source.url)
    connection = await stack.container.database.connections.get(
        stack.environment.id, "tracker", "acme"
    )
    handle = await stack.start_action(connection, None)
    await stack.container.database.runs.start(
        RunStart(handle.result_run_id, handle.id, stack.environment.id, "action", "echo", BEGAN)
    )

    run = await until(live, lambda found: found["status"] != "running")

    assert run["status"] == status
    assert (run["error"] and run["error"]["type"]) == code
    assert run["finished_at"] > "2026-01-01T00:00:01Z"


async def test_cancelled_run_is_shown_as_cancelled(
    live: httpx.AsyncClient, stack: Stack, source: Source
) -> None:
    script = "import asyncio\nasync def run_action(nango, input):\n    await asyncio.sleep(600)\n"
    await deploy(live, project(action=script))
    await connect(live, source.url)
    named = {"connection-id": "acme", "provider-config-key": "tracker"}
    body = {"action_name": "echo", "input": None}
    calling = asyncio.create_task(live.post("/action/trigger", json=body, headers=named))
    run = await until(live, lambda found: found["status"] == "running", kind="action")

    await stack.container.temporal.get_workflow_handle(run["workflow_id"]).cancel()

    assert error_of(await calling) == (500, "run_cancelled")
    (run,) = await listed(live)
    assert (run["status"], run["error"]) == ("cancelled", None)


async def test_run_that_waits_says_why_and_until_when(
    live: httpx.AsyncClient, source: Source
) -> None:
    source.before = lambda page: Response("busy", 503) if page == 2 else None
    await deploy(live, project())
    await connect(live, source.url)
    target = {"provider_config_key": "tracker", "connection_id": "acme", "syncs": []}
    await live.post("/sync/trigger", json=target)

    run = await until(
        live, lambda found: found["waiting"] and found["waiting"]["next_attempt_at"], kind="sync"
    )

    assert run["status"] == "running"
    assert "503" in run["waiting"]["reason"]
    assert run["waiting"]["attempt"] >= 2
    source.before = lambda _: None
    await live.delete("/connections/acme", params={"provider_config_key": "tracker"})


async def test_sync_run_has_its_counts(connected: httpx.AsyncClient) -> None:
    target = {"provider_config_key": "tracker", "connection_id": "acme", "syncs": []}
    await connected.post("/sync/trigger", json=target)

    run = await until(connected, lambda found: found["status"] == "success", kind="sync")

    assert run["counts"] == {"Issue": {"added": 250, "updated": 0, "deleted": 0, "unchanged": 0}}
    assert run["workflow_id"].startswith("sync/")


async def test_run_without_a_worker_is_shown_within_seconds(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    _, run_id = await started(environment)

    async with asyncio.timeout(10):
        run = (await api.get(f"/runs/{run_id}")).json()

    assert (run["status"], run["progress"]) == ("running", None)
    assert run["history"]["events"] >= 2
