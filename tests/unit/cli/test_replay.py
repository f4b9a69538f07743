"""What `perdure replay` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from perdure._version import __version__
from perdure.temporal.script_override import SCRIPT_MARK
from tests.replay.record import HISTORIES, read
from tests.support.project import project
from tests.unit.cli.calls import Run
from tests.unit.cli.test_commands import RUN


@pytest.fixture
def document(server: HTTPServer) -> dict[str, Any]:
    """The history of an action, which the server hands out."""
    history = json.loads(read(HISTORIES / "before-0.1.0" / "action-success.json.gz"))
    started = history["events"][0]["workflowExecutionStartedEventAttributes"]
    # Newer releases mark what is a script.
    started["input"]["payloads"][1]["metadata"][SCRIPT_MARK] = "dHJ1ZQ=="
    document = {"run": RUN, "version": __version__, "workflow_id": "w", "history": history}
    server.expect_request("/runs/r1/history").respond_with_json(document)
    return document


def test_a_run_that_replays_is_told(document: dict[str, Any], run: Run) -> None:
    result = run("replay", "r1")

    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Replays: sync stripe/customers, bundle c8d2112b861b")
    plain = run("replay", "r1", "--json").json
    assert (plain["fits"], plain["mismatch"], plain["error"]) == (True, None, None)


def test_a_script_of_the_folder_that_does_something_else_is_told(
    document: dict[str, Any], run: Run, elsewhere: Path
) -> None:
    script = "async def run_action(nango, input):\n    return (await nango.get('/x')).data\n"
    for name, text in project(action=script).items():
        path = elsewhere / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    result = run("replay", "r1", "--local")

    assert result.code == 1
    assert result.out.startswith("Does not replay")
    assert "tracker/actions/echo.py:2: proxy  GET /x" in result.out


def test_a_project_without_the_script_is_refused(
    document: dict[str, Any], run: Run, elsewhere: Path
) -> None:
    (elsewhere / "nango.yaml").write_text("integrations:\n  other:\n    syncs: {}\nmodels: {}\n")

    result = run("replay", "r1", "--local")

    assert result.code == 1
    assert "tracker/actions/echo.py" in result.err
