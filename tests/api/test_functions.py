"""What is deployed for an integration, under the name of functions."""

from __future__ import annotations

from textwrap import dedent

import httpx
import pytest

from tests.api.calls import deploy, error_of
from tests.support.project import PAGINATED, project

CONFIG = """
integrations:
  tracker:
    syncs:
      issues: {description: All issues, runs: every day, output: Issue, endpoint: GET /issues}
    actions:
      count: {output: number, endpoint: GET /count}
      issues: {output: number, endpoint: GET /again}
    on-events:
      post-connection-creation: [greet]
models:
  Issue: {id: string, title: string}
"""
COUNT = "async def run_action(nango):\n    return 3\n"


@pytest.fixture
async def deployed(live: httpx.AsyncClient) -> httpx.AsyncClient:
    files = project() | {
        "nango.yaml": CONFIG,
        "tracker/actions/count.py": COUNT,
        "tracker/actions/issues.py": COUNT,
        "tracker/on-events/greet.py": "async def on_event(nango):\n    pass\n",
    }
    del files["tracker/actions/echo.py"]
    new = {"provider": "generic-api-key", "unique_key": "tracker"}
    assert (await live.post("/integrations", json=new)).status_code == 200
    await deploy(live, files)
    return live


async def test_functions_are_listed_page_by_page(deployed: httpx.AsyncClient) -> None:
    answer = await deployed.get("/integrations/tracker/functions", params={"limit": 3, "page": 1})

    body = answer.json()
    assert [one["name"] for one in body["data"]] == ["greet"]
    assert body["pagination"] == {"total": 4, "page": 1, "limit": 3}


async def test_functions_are_found_by_type_and_name(deployed: httpx.AsyncClient) -> None:
    actions = await deployed.get("/integrations/tracker/functions", params={"type": "action"})
    found = await deployed.get("/integrations/tracker/functions", params={"search": "COU"})

    assert [one["name"] for one in actions.json()["data"]] == ["count", "issues"]
    assert [one["name"] for one in found.json()["data"]] == ["count"]


async def test_function_says_what_is_declared_of_it(deployed: httpx.AsyncClient) -> None:
    answer = await deployed.get("/integrations/tracker/functions/issues", params={"type": "sync"})

    shown = answer.json()["data"]
    assert shown.pop("last_deployed")
    assert len(shown.pop("bundle")) == 64
    assert shown.pop("json_schema")["definitions"]["Issue"]["required"] == ["id", "title"]
    assert shown == {
        "type": "sync",
        "name": "issues",
        "description": "All issues",
        "scopes": [],
        "returns": ["Issue"],
        "runs": "every day",
        "auto_start": True,
        "track_deletes": False,
        "endpoints": ["GET /issues"],
        "enabled": True,
        "source": "repo",
    }


async def test_name_that_two_types_share_needs_the_type(deployed: httpx.AsyncClient) -> None:
    answer = await deployed.get("/integrations/tracker/functions/issues")

    assert error_of(answer) == (409, "ambiguous_function")
    assert answer.json()["error"]["payload"] == {
        "matches": [{"type": "sync", "name": "issues"}, {"type": "action", "name": "issues"}]
    }


async def test_source_of_a_function_is_what_was_deployed(deployed: httpx.AsyncClient) -> None:
    answer = await deployed.get(
        "/integrations/tracker/functions/issues/code", params={"type": "sync"}
    )

    assert answer.json()["type"] == "sync"
    assert answer.json()["code"] == dedent(PAGINATED)


async def test_disabled_action_is_shown_as_such(deployed: httpx.AsyncClient) -> None:
    body = {"provider_config_key": "tracker", "action_name": "count"}
    assert (await deployed.post("/action/disable", json=body)).status_code == 200

    answer = await deployed.get("/integrations/tracker/functions/count")

    assert answer.json()["data"]["enabled"] is False


async def test_function_is_not_deleted_behind_the_deploys_back(
    deployed: httpx.AsyncClient,
) -> None:
    answer = await deployed.delete("/integrations/tracker/functions/count")

    assert error_of(answer) == (409, "function_managed_by_deploy")
    assert (await deployed.get("/integrations/tracker/functions/count")).status_code == 200


@pytest.mark.parametrize("path", ["nothing", "nothing/code"])
async def test_unknown_function_is_not_found(deployed: httpx.AsyncClient, path: str) -> None:
    answer = await deployed.get(f"/integrations/tracker/functions/{path}")

    assert error_of(answer) == (404, "not_found")


async def test_functions_of_an_unknown_integration(api: httpx.AsyncClient) -> None:
    answer = await api.get("/integrations/nothing/functions")

    assert error_of(answer) == (404, "not_found")
