"""`perdure actions`: what it sends, and what it makes of the answer."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer

from tests.unit.cli.calls import Run

ID = "5b3f0a5e-6d0f-4e6a-9f43-9c2b1f6f3c11"
STARTED = {"id": ID, "statusUrl": f"/action/{ID}"}


def refusal(code: str, **more: object) -> dict[str, object]:
    return {"error": {"code": code, "message": f"it is {code}", **more}}


def test_action_that_nobody_waits_for_prints_its_id(server: HTTPServer, run: Run) -> None:
    headers = {
        "x-async": "true",
        "x-max-retries": "2",
        "x-ordered": "true",
        "idempotency-key": "order-1",
    }
    server.expect_request("/action/trigger", headers=headers).respond_with_json(STARTED, 202)

    result = run(
        "actions",
        "trigger",
        "pay",
        "create",
        "-c",
        "acme",
        "--async",
        "--max-retries",
        "2",
        "--ordered",
        "--idempotency-key",
        "order-1",
    )

    assert result.json == STARTED


@pytest.mark.parametrize("option", [["--max-retries", "1"], ["--ordered"]])
def test_options_of_actions_that_nobody_waits_for_need_async(run: Run, option: list[str]) -> None:
    result = run("actions", "trigger", "pay", "create", "-c", "acme", *option)
    assert result.code == 2
    assert "--async" in result.err


def test_result_is_printed_as_json(server: HTTPServer, run: Run) -> None:
    server.expect_request(f"/action/{ID}").respond_with_json({"order": 1})
    assert run("actions", "result", ID).json == {"order": 1}


def test_result_is_waited_for_where_that_is_wanted(server: HTTPServer, run: Run) -> None:
    pending = refusal("not_found", payload={"status": "running"})
    server.expect_ordered_request(f"/action/{ID}").respond_with_json(pending, 404)
    server.expect_ordered_request(f"/action/{ID}").respond_with_json({"order": 1})
    assert run("actions", "result", ID, "--wait").json == {"order": 1}


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_unknown_action_is_not_waited_for(server: HTTPServer, run: Run, wait: list[str]) -> None:
    server.expect_request(f"/action/{ID}").respond_with_json(refusal("not_found"), 404)
    result = run("actions", "result", ID, *wait)
    assert result.code == 1
    assert "it is not_found" in result.err


def test_actions_are_listed_with_their_ids(server: HTTPServer, run: Run) -> None:
    item = {
        "action_id": ID,
        "integration": "pay",
        "script": "create",
        "connection_id": "acme",
        "status": "success",
        "started_at": "2026-11-22T06:27:11Z",
        "duration_s": 1.5,
    }
    query = {"kind": "action", "limit": "20", "script": "create"}
    server.expect_request("/runs", query_string=query).respond_with_json(
        {"runs": [item, item | {"action_id": None, "dry_run": True}], "next_cursor": None}
    )

    result = run("actions", "list", "--action", "create")

    assert result.out.count(ID) == 1
    assert "dry run: pay / create" in result.out
    assert "success" in result.out


@pytest.mark.parametrize("command", ["disable", "enable"])
def test_action_is_switched(server: HTTPServer, run: Run, command: str) -> None:
    body = {"provider_config_key": "pay", "action_name": "create"}
    server.expect_request(f"/action/{command}", json=body).respond_with_json({"success": True})
    result = run("actions", command, "pay", "create")
    assert result.code == 0
    assert f"create of pay is {command}d" in result.out


def test_limits_of_actions_are_set(server: HTTPServer, run: Run) -> None:
    shown = {
        "name": "dev",
        "active_bundle": None,
        "validation": "enforce",
        "action_limit": 5,
        "connection_action_limit": 2,
    }
    body = {"action_limit": 5}
    server.expect_request("/environment", method="PATCH", json=body).respond_with_json(shown)
    result = run("environment", "set", "--action-limit", "5")
    assert "5 at the same time, 2 for one connection" in result.out
