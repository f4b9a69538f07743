"""What `perdure dryrun` sends, prints and writes, and what `perdure generate:tests` makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.project import project
from tests.unit.cli.calls import Run
from tests.unit.cli.test_commands import RUN

STARTED = {
    "run_id": "r1",
    "kind": "sync",
    "integration": "tracker",
    "script": "issues",
    "path": "tracker/syncs/issues.py",
    "bundle": "b",
    "warnings": [],
}
RECORDS = {
    "Issue": {
        "counts": {"added": 7, "updated": 1, "deleted": 1, "unchanged": 3},
        "rows": [
            {"fate": "added", "id": "1", "before": None, "after": {"id": "1", "title": "new"}},
            {
                "fate": "updated",
                "id": "2",
                "before": {"id": "2", "title": "old"},
                "after": {"id": "2", "title": "new"},
            },
            {"fate": "deleted", "id": "3", "before": {"id": "3"}, "after": None},
        ],
    }
}
FIXTURE = {
    "nango": {"getMetadata": {}, "batchSave": {"Issue": [{"id": "1", "title": "new"}]}},
    "api": {"GET": {"/issues": {"response": {"items": [{"id": "1", "title": "new"}]}}}},
}


def view(**changes: Any) -> dict[str, Any]:
    run = {**RUN, "logs": [], "dry_run": True, **changes.pop("run", {})}
    empty = {
        "records": {},
        "checkpoint": None,
        "metadata": None,
        "output": None,
        "fixture": None,
        "fixture_refused": None,
    }
    return {"run": run, **empty, **changes}


def as_json(value: Any) -> Response:
    return Response(json.dumps(value), content_type="application/json")


def answer(server: HTTPServer, *views: dict[str, Any], **started: Any) -> list[dict[str, Any]]:
    """Let the server answer; what it was asked to try is collected."""
    asked: list[dict[str, Any]] = []

    following = iter(views)

    def start(request: Request) -> Response:
        asked.append(request.json)
        return as_json({**STARTED, **started})

    server.expect_request("/dry-runs", method="POST").respond_with_handler(start)
    server.expect_request("/dry-runs/r1").respond_with_handler(lambda _: as_json(next(following)))
    return asked


@pytest.fixture
def folder(elsewhere: Path) -> Path:
    for name, text in project().items():
        path = elsewhere / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return elsewhere


def test_what_would_change_is_printed(server: HTTPServer, folder: Path, run: Run) -> None:
    line = {"at": "2026-01-01T00:00:00Z", "level": "info", "message": "hello", "data": None}
    asked = answer(
        server,
        view(run={"status": "running", "logs": [line]}),
        view(run={"logs": [line]}, records=RECORDS, checkpoint={"page": 2}),
    )

    result = run(
        *("dryrun", "tracker/syncs/issues.py", "acme", "-m", '{"a": 1}', "-c", '{"page": 1}'),
        *("-l", "2026-01-01", "--variant", "big", "--validate"),
    )

    assert result.code == 0, result.err
    assert set(asked[0]["files"]) == set(project())
    assert {k: v for k, v in asked[0].items() if k != "files"} == {
        "script": "tracker/syncs/issues.py",
        "connection_id": "acme",
        "metadata": {"a": 1},
        "checkpoint": {"page": 1},
        "last_sync_date": "2026-01-01T00:00:00+00:00",
        "variant": "big",
        "validate": True,
        "keep_requests": False,
    }
    assert result.err.count("hello") == 1
    assert "Succeeded in 2.0 s. Nothing was written." in result.out
    assert '+ Issue 1  {"id": "1", "title": "new"}' in result.out
    assert '~ Issue 2  title: "old" -> "new"' in result.out
    assert "- Issue 3" in result.out
    assert "... and 6 more Issue" in result.out
    assert 'Checkpoint: {"page": 2}' in result.out


def test_a_script_that_fails_ends_with_12(server: HTTPServer, folder: Path, run: Run) -> None:
    error = {"type": "x", "message": "tracker/syncs/issues.py:3: no", "traceback": "Traceback"}
    answer(server, view(run={"status": "failed", "error": error}))

    result = run("dryrun", "issues", "acme")

    assert result.code == 12
    assert "issues.py:3: no" in result.out
    assert "Traceback" not in result.out, "it has no line of the script"


def test_what_the_server_refuses_ends_with_12(server: HTTPServer, folder: Path, run: Run) -> None:
    body = {"error": {"code": "unknown_connection", "message": "no acme"}}
    server.expect_request("/dry-runs").respond_with_json(body, status=400)

    result = run("dryrun", "issues", "acme")

    assert (result.code, result.out) == (12, "")
    assert "no acme" in result.err


def test_input_that_is_no_object_is_a_wrong_call(
    server: HTTPServer, folder: Path, run: Run
) -> None:
    assert run("dryrun", "issues", "acme", "-m", "[1]").code == 2


def test_an_actions_output_is_printed(server: HTTPServer, folder: Path, run: Run) -> None:
    asked = answer(server, view(run={"kind": "action"}, output={"n": 1}), kind="action")

    result = run("dryrun", "echo", "acme", "-i", '{"text": "a"}')

    said, _, output = result.out.partition("\n")
    assert said.endswith("Nothing was written here; what it asked the API for was asked.")
    assert json.loads(output) == {"n": 1}
    assert asked[0]["input"] == {"text": "a"}


def test_what_was_recorded_becomes_a_test_that_passes(
    server: HTTPServer, folder: Path, run: Run
) -> None:
    asked = answer(server, view(fixture=FIXTURE))

    saved = run("dryrun", "issues", "acme", "--save")
    written = run("generate:tests")
    again = run("generate:tests")

    assert saved.code == 0, saved.err
    assert (asked[0]["validate"], asked[0]["keep_requests"]) == (True, True)
    assert written.out == "Wrote tracker/tests/test_issues.py.\n"
    assert again.out.startswith("Nothing to write")
    (folder / "pytest.ini").write_text("[pytest]")
    command = (sys.executable, "-m", "pytest", "-q", "tracker")
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout


def test_a_fixture_of_another_script_is_not_overwritten(
    server: HTTPServer, folder: Path, run: Run
) -> None:
    file = folder / "tracker" / "tests" / "issues.test.json"
    file.parent.mkdir()
    file.write_text('{"script": "tracker/actions/issues.py"}')
    answer(server, view(fixture=FIXTURE))

    result = run("dryrun", "issues", "acme", "--save")

    assert result.code == 1
    assert "tracker/actions/issues.py" in result.err
    assert "tracker/actions" in file.read_text()


def test_a_recording_that_is_too_large_is_told(server: HTTPServer, folder: Path, run: Run) -> None:
    answer(server, view(fixture_refused="The run made more than 1,000 records."))

    result = run("dryrun", "issues", "acme", "--save")

    assert result.code == 12
    assert "more than 1,000 records" in result.err
