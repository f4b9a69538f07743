"""Reading a project folder, and keeping what was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.nango_yaml import load_project, parse_nango_yaml
from config.project import Event, Integration, NangoConfig, OnEvents

EVERYTHING = """
integrations:
  github:
    syncs:
      issues:
        description: Fetches issues
        runs: every 30s jitter 5s
        endpoint: [GET /issues, {path: "/users/{User:id}", group: Users}]
        output: [Issue, User]
        input: User | string
        sync_type: incremental
        version: 2
        webhook-subscriptions: "*"
        scopes: repo
    actions:
      close: {endpoint: POST /close, input: "1 | 1.5 | true | null | Issue[]", version: "2"}
    on-events:
      pre-connection-deletion: [revoke]
  gitlab:
    post-connection-scripts: [greet]
models:
  Issue:
    id: number
    at?: date
    author: User
    labels: [string, {name: string}]
    parent?: Issue
  User:
    id: string
    __string: any
"""


def config() -> NangoConfig:
    result = parse_nango_yaml(EVERYTHING)
    assert result.config, result.errors
    return result.config


def test_config_survives_json() -> None:
    stored = json.loads(json.dumps(config().to_json()))
    again = NangoConfig.from_json(stored)
    assert again == config()
    assert type(again.integrations[0].syncs[0].version) is int
    assert again.integrations[0].actions[0].version == "2"


def test_what_is_no_stored_config_is_refused() -> None:
    with pytest.raises(ValidationError):
        NangoConfig.from_json({"version": "v3"})


def test_parts_are_found_by_name() -> None:
    github = config().integration("github")
    assert github
    assert github.sync("issues") is github.syncs[0]
    assert github.action("close") is github.actions[0]
    assert github.sync("close") is github.action("issues") is None
    assert config().integration("bitbucket") is config().model("Nobody") is None
    model = config().model("User")
    assert model
    assert model.name == "User"


@pytest.mark.parametrize(
    ("event", "scripts"),
    [
        ("post-connection-creation", ("a",)),
        ("pre-connection-deletion", ("b",)),
        ("validate-connection", ("c",)),
    ],
)
def test_scripts_of_an_event(event: Event, scripts: tuple[str]) -> None:
    integration = Integration("x", on_events=OnEvents(("a",), ("b",), ("c",)))
    assert integration.event_scripts(event) == scripts


def test_everything_has_a_place_in_the_file() -> None:
    result = parse_nango_yaml(EVERYTHING)
    sync = result.locate("integrations", "github", "syncs", "issues")
    assert sync
    assert (sync.line, sync.column) == (5, 7)
    item = result.locate("integrations", "github", "syncs", "issues", "output", 1)
    assert item
    assert (item.line, item.column) == (9, 25)
    assert result.locate("integrations", "github", "syncs", "pulls") is None
    assert result.locate("integrations", "github", "syncs", "issues", "output", 2) is None
    assert parse_nango_yaml("a: [").locate("a") is None


def test_project_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "nango.yaml").write_bytes(b"\xef\xbb\xbf" + EVERYTHING.encode())
    result = load_project(tmp_path)
    assert result.config == config()
    assert result.source == EVERYTHING


def test_missing_file_is_a_problem(tmp_path: Path) -> None:
    [problem] = load_project(tmp_path).errors
    assert (problem.code, problem.hint) == ("file_not_found", "run `perdure init`")


def test_misnamed_file_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "nango.yml").touch()
    [problem] = load_project(tmp_path).errors
    assert problem.hint == "rename nango.yml to nango.yaml"


def test_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "nango.yaml").mkdir()
    [problem] = load_project(tmp_path).errors
    assert problem.code == "file_unreadable"


def test_folder_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [problem] = load_project(tmp_path / "file").errors
    assert problem.code == "file_unreadable"


def test_huge_file_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    with (tmp_path / "nango.yaml").open("wb") as file:
        file.truncate(2**34)
    [problem] = load_project(tmp_path).errors
    assert problem.code == "file_too_large"


@pytest.mark.parametrize("content", [b"\xff\xfea\x00", "é".encode("latin-1"), "a: \ud800"])
def test_other_encodings_are_a_problem(content: bytes | str) -> None:
    [problem] = parse_nango_yaml(content).errors
    assert (problem.code, problem.hint) == ("yaml_error", "save it as UTF-8")
