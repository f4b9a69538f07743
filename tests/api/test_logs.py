"""What runs have logged, searched over all of them or followed in one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from perdure.app.container import Container
from perdure.db.runs import LogLine, RunStart, RunStatus
from tests.api.calls import client_of, error_of
from tests.support.stack import Stack

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


async def run_with(stack: Stack, *messages: str, level: Any = "info", **facts: Any) -> str:
    """Write a run with a log, a line a minute."""
    run_id = str(uuid.uuid4())
    known = {"integration": "tracker", "connection_id": "acme", "script": "issues"} | facts
    runs = stack.container.database.runs
    await runs.start(
        RunStart(
            id=run_id,
            workflow_id=f"sync/{run_id}",
            environment_id=stack.environment.id,
            kind="sync",
            started_at=BEGAN,
            **known,
        )
    )
    lines = [
        LogLine(at=BEGAN + timedelta(minutes=number), level=level, message=message)
        for number, message in enumerate(messages)
    ]
    await runs.append_logs(run_id, lines)
    return run_id


async def found(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get("/logs", params=query)
    assert answer.status_code == 200, answer.text
    return [line["message"] for line in answer.json()["logs"]]


async def test_lines_of_all_runs_are_searched_from_the_newest_back(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    first = await run_with(environment, "Began", "Page 1")
    await run_with(environment, "50% of it", level="warn", connection_id="globex", script="pulls")

    assert await found(api) == ["50% of it", "Page 1", "Began"]
    assert await found(api, text="PAGE") == ["Page 1"]
    assert await found(api, text="0%") == ["50% of it"]
    assert await found(api, level=["warn", "error"]) == ["50% of it"]
    assert await found(api, connection_id="acme") == ["Page 1", "Began"]
    assert await found(api, script="pulls", integration="tracker") == ["50% of it"]
    assert await found(api, run_id=first) == ["Page 1", "Began"]
    after = (BEGAN + timedelta(seconds=30)).isoformat()
    assert await found(api, since=after) == ["Page 1"]
    assert await found(api, until=after, run_id=first) == ["Began"]


async def test_quiet_environment_is_found_beside_a_loud_one(
    api: httpx.AsyncClient, environment: Stack, container: Container
) -> None:
    await run_with(environment, "The only line for long")
    loud = await Stack.create(container)
    await run_with(loud, *["Once more"] * 20_001)

    assert await found(api) == ["The only line for long"]


async def test_line_of_an_earlier_release_is_found(
    api: httpx.AsyncClient, environment: Stack
) -> None:
    run_id = await run_with(environment)
    await environment.container.database.pool.execute(
        "INSERT INTO run_logs (run_id, at, level, message) VALUES ($1, $2, 'info', 'As before')",
        run_id,
        BEGAN,
    )

    assert await found(api) == ["As before"]


async def test_search_goes_on_where_it_ended(api: httpx.AsyncClient, environment: Stack) -> None:
    run_id = await run_with(environment, *map(str, range(5)))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": 2, "run_id": run_id} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/logs", params=query)).json()
        seen += [line["message"] for line in page["logs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["4", "3", "2", "1", "0"]


async def test_lines_of_another_environment_are_not_found(
    app: FastAPI, api: httpx.AsyncClient, environment: Stack, container: Container
) -> None:
    run_id = await run_with(environment, "ours alone")
    other = await Stack.create(container)
    async with client_of(app, other.secret_key) as stranger:
        assert await found(stranger, text="ours alone") == []
        answer = await stranger.get(f"/runs/{run_id}/logs")
    assert answer.status_code == 404


async def test_run_is_followed_to_its_end(api: httpx.AsyncClient, environment: Stack) -> None:
    runs = environment.container.database.runs
    run_id = await run_with(environment, "one", "two")
    page = (await api.get(f"/runs/{run_id}/logs", params={"limit": 1})).json()
    assert ([line["message"] for line in page["logs"]], page["ended"]) == (["one"], False)

    await runs.append_logs(run_id, [LogLine(at=BEGAN, level="info", message="three")])
    await runs.finish(run_id, RunStatus.SUCCESS, finished_at=BEGAN + timedelta(minutes=5))

    page = (await api.get(f"/runs/{run_id}/logs", params={"cursor": page["cursor"]})).json()
    assert [line["message"] for line in page["logs"]] == ["two", "three"]
    page = (await api.get(f"/runs/{run_id}/logs", params={"cursor": page["cursor"]})).json()
    assert (page["logs"], page["ended"]) == ([], True)


async def test_cursor_that_was_never_given_out_is_refused(api: httpx.AsyncClient) -> None:
    assert error_of(await api.get("/logs", params={"cursor": "nonsense"}))[1] == "invalid_cursor"
    assert error_of(await api.get("/syncs", params={"cursor": "nonsense"}))[1] == "invalid_cursor"
