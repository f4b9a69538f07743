"""Deployments over REST."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.api.calls import connect, deploy, error_of
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


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
    (only,) = listed
    assert only.pop("reconciled_at") >= done["created_at"]
    assert only == {
        "id": done["deployment_id"],
        "bundle": done["bundle"],
        "created_at": done["created_at"],
    }


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


async def test_without_temporal_nothing_is_deployed(offline: httpx.AsyncClient) -> None:
    answer = await offline.post("/deployments", json={"files": project()})

    assert error_of(answer) == (503, "temporal_unavailable")
    assert "nothing was deployed" in answer.json()["error"]["message"]
    assert (await offline.get("/deployments")).json() == {"deployments": []}
    planned = await offline.post("/deployments/plan", json={"files": project()})
    assert planned.json()["base"] == 0


async def test_plan_says_what_a_deploy_would_change_and_changes_nothing(
    live: httpx.AsyncClient, source: Source
) -> None:
    await connect(live, source.url)

    first = await live.post("/deployments/plan", json={"files": project()})

    assert first.status_code == 200
    plan = first.json()
    assert (plan["base"], plan["destructive"], plan["warnings"]) == (0, False, [])
    assert (plan["added"], plan["changed"], plan["removed"]) == (4, 0, 0)
    assert plan["entries"][0] == {
        "kind": "sync",
        "integration": "tracker",
        "name": "issues",
        "change": "added",
        "differences": [
            {"what": "schedule", "name": "runs", "old": None, "new": "every day"},
            {"what": "output", "name": "output", "old": None, "new": "Issue"},
        ],
        "destructive": False,
        "connections": 1,
        "records": 0,
    }
    assert (await live.get("/deployments")).json() == {"deployments": []}

    done = await deploy(live, project())
    assert done["plan"] == {name: value for name, value in plan.items() if name != "warnings"}
    again = (await live.post("/deployments/plan", json={"files": project()})).json()
    assert (again["base"], again["bundle"]) == (done["deployment_id"], done["bundle"])
    assert again["entries"] == []


async def test_plan_does_not_wait_for_what_takes_too_long_to_count(
    live: httpx.AsyncClient, source: Source, stack: Stack
) -> None:
    await deploy(live, project())
    await connect(live, source.url)
    renamed = project()
    renamed["tracker/syncs/tickets.py"] = renamed.pop("tracker/syncs/issues.py")
    renamed["nango.yaml"] = renamed["nango.yaml"].replace("issues:", "tickets:")
    pool = stack.container.database.pool

    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE records IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(15):
            answer = await live.post("/deployments/plan", json={"files": renamed})

    assert answer.status_code == 200
    counts = {e["name"]: e["records"] for e in answer.json()["entries"]}
    assert counts["issues"] is None
    assert counts["tickets"] == 0
    again = (await live.post("/deployments/plan", json={"files": renamed})).json()
    assert {e["name"]: e["records"] for e in again["entries"]}["issues"] == 0


async def test_destructive_deploy_needs_to_be_allowed(
    live: httpx.AsyncClient, source: Source
) -> None:
    before = await deploy(live, project())
    await connect(live, source.url)
    without = without_action()

    refused = await live.post("/deployments", json={"files": without})

    assert error_of(refused) == (409, "destructive_changes")
    plan = refused.json()["error"]["payload"]["plan"]
    removed = [(e["kind"], e["name"], e["connections"]) for e in plan["entries"]]
    assert ("action", "echo", 1) in removed
    (latest,) = (await live.get("/deployments")).json()["deployments"]
    assert latest["id"] == before["deployment_id"]

    allowed = {"files": without, "allow_destructive": True}
    assert (await live.post("/deployments", json=allowed)).status_code == 200


async def test_deploy_during_a_deploy_is_refused(live: httpx.AsyncClient, stack: Stack) -> None:
    name = stack.environment.name
    temporal = stack.container.temporal
    busy = await temporal.start_workflow(
        "deploy", id=f"deploy/{name}", task_queue="nobody-listens-here"
    )

    refused = await live.post("/deployments", json={"files": project()})

    assert error_of(refused) == (409, "concurrent_deployment")
    assert refused.json()["error"]["payload"] == {"run_id": busy.result_run_id}
    assert (await live.get("/deployments")).json() == {"deployments": []}
    await busy.terminate()
    await deploy(live, project())


async def test_two_deploys_at_once_are_one_deploy_and_a_refusal(live: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        live.post("/deployments", json={"files": project(), "base": 0}),
        live.post("/deployments", json={"files": without_action(), "base": 0}),
    )

    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 409], [answer.text for answer in answers]
    assert len((await live.get("/deployments")).json()["deployments"]) == 1


async def test_plan_that_is_out_of_date_is_not_carried_out(live: httpx.AsyncClient) -> None:
    plan = (await live.post("/deployments/plan", json={"files": project()})).json()
    await deploy(live, without_action())

    body = {"files": project(), "base": plan["base"]}
    refused = await live.post("/deployments", json=body)

    assert error_of(refused) == (409, "concurrent_deployment")
    newer = refused.json()["error"]["payload"]["plan"]
    assert (await live.post("/deployments", json={**body, "base": newer["base"]})).is_success


async def test_target_that_is_not_in_the_project_is_refused(live: httpx.AsyncClient) -> None:
    body = {"files": project(), "target": {"sync": "isues"}}

    for path in ("/deployments", "/deployments/plan"):
        assert error_of(await live.post(path, json=body)) == (400, "unknown_target")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": {}, "bundle": "a"},
        {"bundle": "a", "target": {"sync": "b"}},
        {"files": {}, "target": {"sync": "a", "action": "b"}},
        {"files": {}, "base": "latest"},
    ],
)
async def test_request_that_makes_no_sense_is_refused(
    live: httpx.AsyncClient, body: dict[str, object]
) -> None:
    assert error_of(await live.post("/deployments", json=body)) == (400, "invalid_body")


async def test_deployment_is_shown_and_put_back(live: httpx.AsyncClient) -> None:
    first = await deploy(live, project())
    body = {"files": without_action(), "allow_destructive": True}
    second = (await live.post("/deployments", json=body)).json()

    shown = (await live.get(f"/deployments/{first['deployment_id']}")).json()

    assert shown["bundle"] == first["bundle"]
    assert shown["integrations"] == first["integrations"]
    assert shown["active"] is False
    assert "tracker/actions/echo.py" in shown["files"]
    assert (await live.get(f"/deployments/{second['deployment_id']}")).json()["active"] is True

    plan = (await live.post("/deployments/plan", json={"bundle": first["bundle"]})).json()
    assert ("added", "echo") in {(e["change"], e["name"]) for e in plan["entries"]}
    back = await live.post("/deployments", json={"bundle": first["bundle"]})
    assert back.status_code == 200
    assert back.json()["integrations"] == first["integrations"]
    assert len((await live.get("/deployments")).json()["deployments"]) == 3


async def test_bundle_of_another_environment_cannot_be_put_back(
    live: httpx.AsyncClient, api: httpx.AsyncClient
) -> None:
    theirs = await deploy(live, project())

    answer = await api.post("/deployments", json={"bundle": theirs["bundle"]})

    assert error_of(answer) == (404, "unknown_bundle")
    missing = await api.get(f"/deployments/{theirs['deployment_id']}")
    assert error_of(missing) == (404, "unknown_deployment")


def without_action() -> dict[str, str]:
    files = project()
    head, _, rest = files["nango.yaml"].partition("    actions:")
    return {**files, "nango.yaml": f"{head}models:{rest.partition('models:')[2]}"}


async def test_part_that_shares_a_module_with_other_scripts_needs_agreement(
    live: httpx.AsyncClient,
) -> None:
    files = project()
    for script in ("tracker/syncs/issues.py", "tracker/actions/echo.py"):
        files[script] = f"import shared\n{files[script]}"
    files["shared.py"] = "OLD = 1\n"
    assert (await live.post("/deployments", json={"files": files})).status_code == 200

    body = {"files": {**files, "shared.py": "NEW = 1\n"}, "target": {"sync": "issues"}}
    planned = await live.post("/deployments/plan", json=body)
    refused = await live.post("/deployments", json=body)
    agreed = await live.post("/deployments", json={**body, "allow_destructive": True})

    assert planned.json()["touches_others"] == ["tracker/echo"]
    assert error_of(refused) == (409, "target_touches_others")
    assert "tracker/echo" in refused.json()["error"]["message"]
    assert agreed.status_code == 200


async def test_part_that_breaks_what_stays_is_refused_and_a_broken_rest_is_not_in_its_way(
    live: httpx.AsyncClient,
) -> None:
    files = project()
    for script in ("tracker/syncs/issues.py", "tracker/actions/echo.py"):
        files[script] = f"from shared import OLD\n{files[script]}"
    files["shared.py"] = "OLD = 1\n"
    await deploy(live, files)
    sync = files["tracker/syncs/issues.py"].replace("OLD", "NEW")
    broken = {**files, "tracker/syncs/issues.py": sync, "shared.py": "NEW = 1\n"}
    beside = {**files, "tracker/actions/echo.py": "def broken(:\n", "shared.py": "OLD = 2\n"}

    terms = {"target": {"sync": "issues"}, "allow_destructive": True}
    refused = await live.post("/deployments", json={"files": broken, **terms})
    done = await live.post("/deployments", json={"files": beside, **terms})

    assert error_of(refused) == (400, "compile_failed")
    (problem,) = refused.json()["error"]["payload"]["problems"]
    assert problem.startswith("tracker/actions/echo.py:1:1: error[script_import_error]")
    assert done.status_code == 200, done.text
