"""`perdure deploy` and `perdure deployments`: plans shown, agreed to and carried out."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.app.cli.render import plain_deployment
from perdure.app.cli.starter import starter_files
from tests.unit.cli.calls import Run

BUNDLE = "c8d2112b861b77777"


def entry(change: str, name: str = "issues", **more: Any) -> dict[str, Any]:
    return {
        "kind": "sync",
        "integration": "github",
        "name": name,
        "change": change,
        "differences": [],
        "destructive": change == "removed",
        "connections": 0,
        "records": 0,
        **more,
    }


def plan_of(*entries: dict[str, Any]) -> dict[str, Any]:
    counts = {c: sum(e["change"] == c for e in entries) for c in ("added", "changed", "removed")}
    destructive = any(entry["destructive"] for entry in entries)
    shown = {"base": 7, "bundle": BUNDLE, "destructive": destructive, "entries": list(entries)}
    return {**shown, **counts, "touches_others": []}


class Server:
    """Answers with a plan, and keeps what it was asked to deploy."""

    def __init__(self, server: HTTPServer, plan: dict[str, Any]) -> None:
        self.plan = {**plan, "warnings": ["nango.yaml:1:1: warning[x]: careful"]}
        self.answer = {
            "deployment_id": 8,
            "bundle": BUNDLE,
            "changed": True,
            "created_at": "2026-11-22T06:27:11Z",
            "warnings": self.plan["warnings"],
            "integrations": [],
            "schedules": {"created": 2, "updated": 0, "deleted": 1},
            "records_erased": 1200,
            "plan": plan,
        }
        self.planned: list[dict[str, Any]] = []
        self.deployed: list[dict[str, Any]] = []
        server.expect_request("/deployments/plan").respond_with_handler(self._plan)
        server.expect_request("/deployments", "POST").respond_with_handler(self._deploy)

    def _plan(self, request: Request) -> Response:
        self.planned.append(request.json)
        return Response(json.dumps(self.plan), content_type="application/json")

    def _deploy(self, request: Request) -> Response:
        self.deployed.append(request.json)
        return Response(json.dumps(self.answer), content_type="application/json")


class Terminal(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def project(run: Run) -> dict[str, str]:
    run("init")
    return {path: text for path, text in starter_files().items() if not path.startswith(".")}


def test_deploy_shows_the_plan_and_carries_it_out(
    server: HTTPServer, run: Run, project: dict[str, str]
) -> None:
    api = Server(server, plan_of(entry("added", connections=1200)))

    result = run("deploy")

    assert result.code == 0, result.err
    assert api.planned == [{"files": project}]
    (sent,) = api.deployed
    assert sent.pop("files") == project
    assert sent == {"allow_destructive": False, "base": 7}
    assert "+ sync issues  (1,200 connections)" in result.out
    assert "Plan: 1 to add, 0 to change, 0 to remove." in result.out
    assert "Deployed bundle c8d2112b861b in" in result.out
    assert "Schedules: 2 created, 1 deleted." in result.out
    assert "Records erased: 1,200." in result.out
    assert result.err.count("careful") == 1


def test_each_difference_is_shown(server: HTTPServer, run: Run, project: dict[str, str]) -> None:
    def difference(what: str, name: str, old: str | None, new: str | None) -> dict[str, Any]:
        return {"what": what, "name": name, "old": old, "new": new}

    differences = [
        difference("schedule", "runs", "every 1h", "every 2h"),
        difference("script", "shared/a.py", "12ab", "34cd"),
        difference("script", "shared/b.py", None, "34cd"),
        difference("model", "Issue", None, None),
        difference("setting", "track_deletes", "false", "true"),
        difference("output", "output", "Issue, Label, Note", "Issue"),
        difference("records", "Label", "issues", None),
        difference("records", "Note", "issues", "notes"),
    ]
    changed = entry("changed", differences=differences, destructive=True, records=1)
    field = difference("field", "state", "a | b", None)
    model = {"kind": "model", "integration": None, "destructive": False}
    Server(server, plan_of(changed, entry("changed", "Issue", **model, differences=[field])))

    shown = run("deploy", "--dry-run").out

    assert "~ sync issues  (1 record)  !" in shown
    for text in (
        "schedule: every 1h -> every 2h",
        "script: shared/a.py differs",
        "script: shared/b.py is new",
        "model: Issue differs",
        "track_deletes: false -> true",
        "output: Issue, Label, Note -> Issue",
        "records of Label are erased",
        "records of Note stay, now saved by notes",
        "models\n  ~ model Issue",
        "state: a | b -> (none)",
    ):
        assert text in shown


def test_records_that_take_too_long_to_count_are_said_to_be_unknown(
    server: HTTPServer, run: Run, project: dict[str, str]
) -> None:
    Server(server, plan_of(entry("removed", connections=3, records=None)))

    shown = run("deploy", "--dry-run").out

    assert "- sync issues  (3 connections, an unknown number of records)  !" in shown


def test_dry_run_deploys_nothing(server: HTTPServer, run: Run, project: dict[str, str]) -> None:
    api = Server(server, plan_of(entry("removed")))

    shown, as_json = run("deploy", "--dry-run"), run("deploy", "--dry-run", "--json")

    assert (shown.code, as_json.code) == (0, 0)
    assert "- sync issues" in shown.out
    assert "careful" in shown.err
    assert as_json.json == api.plan
    assert api.deployed == []


def test_nothing_to_change_is_said(server: HTTPServer, run: Run, project: dict[str, str]) -> None:
    api = Server(server, plan_of())

    assert "Nothing to change" in run("deploy").out
    assert len(api.deployed) == 1, "schedules are mended all the same"


def test_nobody_is_there_to_agree(server: HTTPServer, run: Run, project: dict[str, str]) -> None:
    api = Server(server, plan_of(entry("removed")))

    refused, as_json = run("deploy"), run("deploy", "--json")

    assert (refused.code, as_json.code) == (11, 11)
    assert "- sync issues" in refused.out
    assert "hint: --allow-destructive" in refused.err
    assert as_json.json == api.plan
    assert api.deployed == []


def test_flag_agrees(server: HTTPServer, run: Run, project: dict[str, str]) -> None:
    api = Server(server, plan_of(entry("removed")))

    result = run("deploy", "--allow-destructive", "--json")

    assert (result.code, result.json) == (0, api.answer)
    assert api.deployed[0]["allow_destructive"] is True


@pytest.mark.parametrize(
    ("said", "code", "deploys"), [("yes\n", 0, 1), ("y\n", 11, 0), ("\n", 11, 0), ("", 11, 0)]
)
def test_person_is_asked_before_something_is_removed(
    server: HTTPServer,
    run: Run,
    project: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    code: int,
    deploys: int,
) -> None:
    api = Server(server, plan_of(entry("removed")))
    monkeypatch.setattr("sys.stdin", Terminal(said))

    assert run("deploy").code == code
    assert len(api.deployed) == deploys
    assert all(body["allow_destructive"] for body in api.deployed)


def test_person_is_not_asked_when_nothing_is_removed(
    server: HTTPServer, run: Run, project: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Server(server, plan_of(entry("added")))
    monkeypatch.setattr("sys.stdin", Terminal(""))

    assert run("deploy").code == 0


def test_agreement_is_needed_where_a_part_changes_other_scripts(
    server: HTTPServer, run: Run, project: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Server(server, {**plan_of(entry("changed")), "touches_others": ["chat/messages"]})

    refused = run("deploy", "-s", "issues")
    assert (refused.code, api.deployed) == (11, [])
    assert "chat/messages" in refused.out
    assert "hint: deploy them together, or allow it with --allow-destructive" in refused.err

    assert run("deploy", "-s", "issues", "--allow-destructive").code == 0
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    asked = run("deploy", "-s", "issues")
    assert (asked.code, asked.err.count("careful")) == (0, 1)
    assert [body["allow_destructive"] for body in api.deployed] == [True, True]


@pytest.mark.parametrize(
    ("flags", "target"),
    [
        (("-i", "github"), {"integration": "github"}),
        (("-s", "issues"), {"sync": "issues"}),
        (("-i", "github", "-a", "repo"), {"integration": "github", "action": "repo"}),
    ],
)
def test_part_of_a_project_is_asked_for(
    server: HTTPServer,
    run: Run,
    project: dict[str, str],
    flags: tuple[str, ...],
    target: dict[str, str],
) -> None:
    api = Server(server, plan_of())

    assert run("deploy", *flags).code == 0
    assert api.planned[0]["target"] == api.deployed[0]["target"] == target


def test_sync_and_action_do_not_go_together(run: Run, project: dict[str, str]) -> None:
    assert run("deploy", "-s", "a", "-a", "b").code == 2


def test_deployments_are_listed_and_shown(server: HTTPServer, run: Run) -> None:
    at = "2026-11-22T06:27:11Z"
    deployed = {"id": 8, "bundle": BUNDLE, "created_at": at, "reconciled_at": at}
    listed = {"deployments": [deployed]}
    sync = {"name": "issues", "runs": "every 1h", "models": ["GithubIssue"], "auto_start": True}
    shown = {
        **listed["deployments"][0],
        "active": True,
        "integrations": [{"key": "github", "syncs": [sync], "actions": [{"name": "repo"}]}],
        "files": ["nango.yaml"],
    }
    server.expect_request("/deployments", "GET").respond_with_json(listed)
    server.expect_request("/deployments/8").respond_with_json(shown)

    assert "active" in run("deployments", "list").out
    assert "not yet" not in run("deployments", "list").out
    assert at not in run("deployments", "list").out
    assert run("deployments", "list", "--json").json == listed
    assert "GithubIssue" in run("deployments", "show", "8").out
    assert run("deployments", "show", "8", "--json").json == shown


def test_rollback_is_a_deploy_of_an_older_bundle(server: HTTPServer, run: Run) -> None:
    server.expect_request("/deployments/3").respond_with_json({"bundle": "older"})
    api = Server(server, plan_of(entry("removed")))

    refused = run("deployments", "rollback", "3")
    done = run("deployments", "rollback", "3", "--allow-destructive")

    assert (refused.code, done.code) == (11, 0)
    assert api.planned == [{"bundle": "older"}] * 2
    assert api.deployed == [{"bundle": "older", "allow_destructive": True, "base": 7}]


def test_deployment_that_connections_still_lack_is_marked(server: HTTPServer, run: Run) -> None:
    at = "2026-11-22T06:27:11Z"
    newest = {"id": 8, "bundle": BUNDLE, "created_at": at, "reconciled_at": None}
    older = {"id": 7, "bundle": BUNDLE, "created_at": at, "reconciled_at": None}
    shown = {**newest, "active": True, "integrations": [], "files": []}
    server.expect_request("/deployments", "GET").respond_with_json({"deployments": [newest, older]})
    server.expect_request("/deployments/8").respond_with_json(shown)

    assert run("deployments", "list").out.count("active, not yet for all connections") == 1
    assert "8 (active, not yet for all connections)" in run("deployments", "show", "8").out


def test_cancelling_says_what_is_left(server: HTTPServer, run: Run) -> None:
    answer = {
        "deployment_id": 8,
        "bundle": BUNDLE,
        "ended": True,
        "connections": 120,
        "reconciled": 50,
        "message": "connections 51 to 120 are left",
    }
    server.expect_request("/deployments/cancel", "POST").respond_with_json(answer)

    assert "connections 51 to 120 are left" in run("deployments", "cancel").out
    assert run("deployments", "cancel", "--json").json == answer


def test_cancelling_when_no_deploy_is_under_way_fails(server: HTTPServer, run: Run) -> None:
    error = {"code": "no_deploy_under_way", "message": "No deploy is under way."}
    server.expect_request("/deployments/cancel", "POST").respond_with_json(
        {"error": error}, status=404
    )

    result = run("deployments", "cancel")

    assert result.code == 1
    assert "No deploy is under way" in result.err


def test_dev_names_what_was_removed(httpserver: HTTPServer) -> None:
    lost = {"what": "records", "name": "Label", "old": "issues", "new": None}
    kept = {"what": "records", "name": "Issue", "old": "issues", "new": "all"}
    changed = entry("changed", differences=[lost, kept], destructive=True)
    plan = plan_of(entry("removed", "old"), changed)
    answer = {**Server(httpserver, plan).answer, "warnings": []}

    line, _ = plain_deployment(answer)

    assert line == (
        "deployed bundle c8d2112b861b: nothing; removed sync github/old, output Label of "
        "github/issues with 1,200 records"
    )
