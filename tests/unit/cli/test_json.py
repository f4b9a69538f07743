"""Whatever a server is asked for, programs can read the answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cyclopts import App
from pytest_httpserver import HTTPServer

from perdure.app.cli.main import app
from tests.unit.cli.calls import Run

PRINTS_JSON = {"actions trigger", "actions result"}
"""What an action returns is JSON anyway."""


def commands(of: App, path: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in of:
        if name.startswith("-"):
            continue
        found = of[name]
        if found.default_command is not None:
            yield f"{path}{name}", found.default_command
        yield from commands(found, f"{path}{name} ")


def test_every_command_that_speaks_to_a_server_takes_json() -> None:
    asked = {
        name: inspect.signature(command).parameters
        for name, command in commands(app)
        if "server" in inspect.signature(command).parameters
    }
    assert len(asked) > 50
    assert {name for name, taken in asked.items() if "as_json" not in taken} == PRINTS_JSON


@pytest.mark.parametrize(
    ("method", "path", "command"),
    [
        ("PUT", "/environment-variables/A", "env set A b"),
        ("DELETE", "/environment-variables/A", "env delete A"),
        ("DELETE", "/integrations/hub", "integrations delete hub"),
        ("POST", "/action/disable", "actions disable hub echo"),
        ("POST", "/action/enable", "actions enable hub echo"),
        ("POST", "/sync/trigger", "syncs trigger hub issues"),
        ("POST", "/sync/pause", "syncs pause hub"),
        ("POST", "/sync/start", "syncs start hub -c acme"),
        ("DELETE", "/sync/issues/variant/v1", "syncs variants delete hub issues v1 -c acme"),
    ],
)
def test_what_was_done_is_told_as_json_or_as_a_sentence(
    server: HTTPServer, run: Run, method: str, path: str, command: str
) -> None:
    server.expect_request("/connections").respond_with_json({"connections": []})
    server.expect_request(path, method=method).respond_with_json({"success": True})

    said, as_json = run(*command.split()), run(*command.split(), "--json")

    assert (said.code, as_json.code) == (0, 0), said.err + as_json.err
    assert said.out.strip().endswith(".")
    assert as_json.json == {"success": True}


def test_integration_is_made_with_what_its_entry_asks_for(server: HTTPServer, run: Run) -> None:
    server.expect_request(
        "/integrations",
        method="POST",
        json={"unique_key": "zen", "provider": "zendesk", "integration_config": {"a": "b=c"}},
    ).respond_with_json({"data": {"unique_key": "zen"}})
    server.expect_request(
        "/integrations/zen", method="PATCH", json={"integration_config": {"a": "d"}}
    ).respond_with_json({"data": {"unique_key": "zen"}})

    made = run("integrations", "create", "zen", "--provider", "zendesk", "--config", "a=b=c")
    changed = run("integrations", "change", "zen", "--config", "a=d")

    assert (made.code, changed.code) == (0, 0), made.err + changed.err
