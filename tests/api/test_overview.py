"""How an environment stands, its syncs and sets of records, and what runs and deployments did."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from temporalio.client import WorkflowFailureError

from tests.api.calls import connect, deploy, error_of
from tests.support.project import PAGINATED, project
from tests.support.source import Source
from tests.support.stack import Stack

FAILING = f"{PAGINATED}\n    await nango.log('All read')\n    raise ValueError('no such thing')\n"


async def run_to_end(live: httpx.AsyncClient, connection_id: str = "acme") -> dict[str, Any]:
    """Trigger the sync and return its run once it has ended."""
    body = {
        "provider_config_key": "tracker",
        "connection_id": connection_id,
        "syncs": ["issues"],
    }
    assert (await live.post("/sync/trigger", json=body)).status_code == 200
    async with asyncio.timeout(60):
        while True:
            query = {"kind": "sync", "connection_id": connection_id}
            runs = (await live.get("/runs", params=query)).json()["runs"]
            if runs and runs[0]["status"] != "running":
                return dict(runs[0])
            await asyncio.sleep(0.1)


@pytest.fixture
async def failed(live: httpx.AsyncClient, source: Source) -> dict[str, Any]:
    """A run of `issues` that read everything and failed then."""
    await deploy(live, project(FAILING))
    await connect(live, source.url)
    return await run_to_end(live)


async def test_empty_environment_has_nothing(api: httpx.AsyncClient, environment: Stack) -> None:
    overview = (await api.get("/overview")).json()

    assert overview["environment"] == environment.environment.name
    assert (overview["connections"], overview["records"], overview["syncs"]) == (0, 0, {})
    assert (overview["failures"], overview["upcoming"]) == ([], [])
    assert len(overview["hours"]) == 24
    assert not any(hour["runs"] for hour in overview["hours"])


async def test_failed_sync_stands_in_the_overview_with_its_reason(
    live: httpx.AsyncClient, failed: dict[str, Any]
) -> None:
    overview = (await live.get("/overview")).json()

    assert overview["syncs"] == {"failed": 1}
    (failure,) = overview["failures"]
    assert (failure["run_id"], failure["name"]) == (failed["id"], "issues")
    assert "no such thing" in failure["error"]["message"]
    assert overview["records"] == 250
    assert sum(hour["added"] for hour in overview["hours"]) == 250
    assert sum(hour["failed"] for hour in overview["hours"]) == 1


async def test_syncs_are_listed_page_by_page_and_filtered(
    live: httpx.AsyncClient, source: Source
) -> None:
    await deploy(live, project())
    for name in ("acme", "globex", "initech"):
        await connect(live, source.url, name)
    await run_to_end(live, "globex")

    async def names(**query: Any) -> list[tuple[str, str]]:
        found = (await live.get("/syncs", params=query)).json()
        return [(sync["connection_id"], sync["status"]) for sync in found["syncs"]]

    assert await names() == [("acme", "never"), ("globex", "success"), ("initech", "never")]
    assert await names(status="success") == [("globex", "success")]
    assert await names(connection="TECH") == [("initech", "never")]
    assert await names(integration="other") == await names(name="other") == []
    page = (await live.get("/syncs", params={"limit": 2})).json()
    assert await names(cursor=page["next_cursor"]) == [("initech", "never")]


async def test_record_sets_are_counted(live: httpx.AsyncClient, failed: dict[str, Any]) -> None:
    found = (await live.get("/record-sets", params={"connection": "ACM"})).json()

    (counted,) = found["sets"]
    assert (counted["model"], counted["records"], counted["variant"]) == ("Issue", 250, "base")
    assert found["next_cursor"] is None
    assert (await live.get("/record-sets", params={"integration": "x"})).json()["sets"] == []


async def test_timeline_tells_what_a_run_did(
    live: httpx.AsyncClient, stack: Stack, failed: dict[str, Any]
) -> None:
    # Its row ends a moment before its history does.
    with pytest.raises(WorkflowFailureError):
        await stack.container.temporal.get_workflow_handle(failed["workflow_id"]).result()

    timeline = (await live.get(f"/runs/{failed['id']}/timeline")).json()

    assert timeline["whole"]
    kinds = [step["kind"] for step in timeline["steps"]]
    assert kinds.index("request") < kinds.index("save")
    texts = [step["text"] for step in timeline["steps"] if step["kind"] == "request"]
    assert texts[0].startswith("GET /issues")
    assert all(step["status"] == "done" and step["took"] >= 0 for step in timeline["steps"])
    shown = (await live.get(f"/runs/{failed['id']}/timeline", params={"all": "true"})).json()
    assert shown["steps"] == timeline["steps"]


async def test_source_of_a_failure_is_that_of_the_run(
    live: httpx.AsyncClient, failed: dict[str, Any]
) -> None:
    await deploy(live, project())

    source = (await live.get(f"/runs/{failed['id']}/source")).json()

    assert source["file"] == "tracker/syncs/issues.py"
    line = source["content"].splitlines()[source["line"] - 1]
    assert "no such thing" in line


async def test_run_that_did_not_fail_in_a_file_has_no_source(
    connected: httpx.AsyncClient,
) -> None:
    run = await run_to_end(connected)
    answer = await connected.get(f"/runs/{run['id']}/source")
    assert error_of(answer) == (404, "no_source")
    assert (await connected.get("/runs/none/timeline")).status_code == 404


async def test_deployment_tells_what_it_changed(live: httpx.AsyncClient) -> None:
    await deploy(live, project())
    await deploy(live, project(FAILING, auto_start=True))
    newest, first = (await live.get("/deployments")).json()["deployments"]

    changes = (await live.get(f"/deployments/{newest['id']}/changes")).json()
    assert changes["before"] == first["id"]
    assert [file["path"] for file in changes["files"]] == ["nango.yaml", "tracker/syncs/issues.py"]
    assert "+    raise ValueError('no such thing')" in changes["files"][1]["diff"].splitlines()
    assert {entry["change"] for entry in changes["entries"]} == {"changed"}

    changes = (await live.get(f"/deployments/{first['id']}/changes")).json()
    assert changes["before"] is None
    assert {entry["change"] for entry in changes["entries"]} == {"added"}
    assert (await live.get("/deployments/1000000/changes")).status_code == 404


async def test_overview_is_there_without_temporal(offline: httpx.AsyncClient) -> None:
    answer = await offline.get("/overview")
    assert answer.status_code == 200
    assert answer.json()["upcoming"] is None
