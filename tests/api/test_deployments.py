"""Deployments over REST."""

from __future__ import annotations

import httpx

from tests.api.calls import connect, deploy, error_of
from tests.support.project import project
from tests.support.source import Source


async def test_deploy_says_what_it_deployed(live: httpx.AsyncClient) -> None:
    files = project()
    files["nango.yaml"] += "  Unused:\n    id: string\n    state: opne\n"

    done = await deploy(live, files)

    assert len(done["bundle"]) == 64
    assert done["changed"] is True
    assert done["integrations"] == [
        {
            "key": "tracker",
            "syncs": [
                {"name": "issues", "runs": "every day", "models": ["Issue"], "auto_start": False}
            ],
            "actions": [{"name": "echo"}],
        }
    ]
    assert done["schedules"] == {"created": 0, "updated": 0, "deleted": 0}
    (warning,) = done["warnings"]
    assert warning.startswith("nango.yaml:")
    listed = (await live.get("/deployments")).json()["deployments"]
    assert listed == [
        {"id": done["deployment_id"], "bundle": done["bundle"], "created_at": done["created_at"]}
    ]


async def test_same_content_again_changes_nothing_but_mends_schedules(
    live: httpx.AsyncClient, source: Source
) -> None:
    first = await deploy(live, project())
    await connect(live, source.url)

    second = await deploy(live, project())

    assert second["changed"] is False
    assert second["schedules"] == {"created": 0, "updated": 1, "deleted": 0}
    assert (second["bundle"], second["deployment_id"]) == (first["bundle"], first["deployment_id"])
    assert len((await live.get("/deployments")).json()["deployments"]) == 1


async def test_connections_get_the_schedules_of_a_later_deploy(
    live: httpx.AsyncClient, source: Source
) -> None:
    await connect(live, source.url)

    assert (await deploy(live, project()))["schedules"]["created"] == 1


async def test_yaml_that_is_wrong_is_refused_with_line_and_column(live: httpx.AsyncClient) -> None:
    files = project()
    files["nango.yaml"] = files["nango.yaml"].replace("output: Issue", "output: Isue")

    answer = await live.post("/deployments", json={"files": files})

    assert error_of(answer) == (400, "failed_to_parse_nango_yaml")
    error = answer.json()["error"]
    assert error["errors"]
    assert all(text.startswith("nango.yaml:") for text in error["payload"]["problems"])
    assert (await live.get("/deployments")).json() == {"deployments": []}


async def test_script_that_does_not_parse_is_refused_with_its_line(
    live: httpx.AsyncClient,
) -> None:
    files = project(action="async def run_action(nango, input)\n    return 1\n")

    answer = await live.post("/deployments", json={"files": files})

    assert error_of(answer) == (400, "compile_failed")
    (problem,) = answer.json()["error"]["payload"]["problems"]
    assert problem.startswith("tracker/actions/echo.py:1")


async def test_without_temporal_the_next_deploy_mends_the_schedules(
    offline: httpx.AsyncClient,
) -> None:
    answer = await offline.post("/deployments", json={"files": project()})

    assert error_of(answer) == (503, "temporal_unavailable")
    assert "Deploy it again" in answer.json()["error"]["message"]
    assert len((await offline.get("/deployments")).json()["deployments"]) == 1
