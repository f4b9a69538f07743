"""Scaffolds: what is written for scripts that nobody has written yet."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from config.compile import compile_project
from config.models_py import generate_models_py
from config.nango_yaml import parse_nango_yaml
from config.project import Action, Integration, Model, NangoConfig, NativeType
from config.project import Field as ModelField
from config.scaffolds import generate_scaffolds
from config.scripts import scripts_of

CONFIG = """
integrations:
  tracker:
    syncs:
      issues-and-users:
        description: >-
          Issues "and" users of a tracker, which is a \\ sentence so long that it does not fit into
          one line
        runs: every day
        output: [Issue, User]
        endpoint: [GET /issues, GET /users]
        webhook-subscriptions: "*"
      odd:
        runs: every day
        output: [Any, page, 3things, NewIssueWithQuiteALongNameItself]
        endpoint: [/any, /page, /things, /long]
    actions:
      create:
        input: NewIssue
        output: Issue
        endpoint: POST /issues
      look-up:
        input: NewIssue
        output: [Issue, User]
        endpoint: GET /issue
      count:
        output: number
        endpoint: GET /count
      many: {input: "NewIssue[]", output: "Issue[] | null", endpoint: POST /many}
      ping: {endpoint: POST /ping}
      a-very-long-name-of-models:
        input: NewIssueWithQuiteALongNameItself
        output: NewIssueWithQuiteALongNameItself
        endpoint: POST /long
    on-events:
      post-connection-creation: [greet, both]
      validate-connection: [both]
  legacy:
    post-connection-scripts: [set-up]
models:
  Issue: {id: string}
  User: {id: string}
  NewIssue: {title: string, class: string}
  NewIssueWithQuiteALongNameItself: {id: string}
  Any: {id: string}
  page: {id: string}
  3things: {id: string}
"""


def config_of(text: str) -> NangoConfig:
    result = parse_nango_yaml(text)
    assert result.config, result.errors
    return result.config


def test_sync_reads_well() -> None:
    config = config_of(
        """
integrations:
  tracker:
    syncs:
      issues:
        description: All issues
        runs: every day
        output: Issue
        endpoint: GET /issues
models:
  Issue: {id: string}
"""
    )

    assert generate_scaffolds(config, ()) == {
        "tracker/syncs/issues.py": '''\
"""All issues."""

from typing import Any

from perdure import NangoSync

from models import Issue


async def fetch_data(nango: NangoSync) -> None:
    # Fill in the endpoints, and what of the API's answers becomes which field.
    await nango.paginate("/fill-in").save("Issue", map=to_issue)


def to_issue(raw: dict[str, Any]) -> Issue:
    return Issue.model_validate(raw)
'''
    }


def test_action_reads_well() -> None:
    assert (
        generate_scaffolds(config_of(CONFIG), ())["tracker/actions/create.py"]
        == '''\
"""Action create of tracker."""

from typing import Any

from perdure import NangoAction

from models import Issue, NewIssue


async def run_action(nango: NangoAction, input: dict[str, Any]) -> Issue:
    wanted = NewIssue.model_validate(input)
    # Fill in the endpoint, what it is sent, and what of its answer is returned.
    data = wanted.model_dump(mode="json", by_alias=True, exclude_unset=True)
    answer = await nango.post("/fill-in", data=data)
    return Issue.model_validate(answer.data)
'''
    )


def test_every_script_that_is_missing_is_written() -> None:
    assert list(generate_scaffolds(config_of(CONFIG), ())) == [
        "tracker/syncs/issues-and-users.py",
        "tracker/syncs/odd.py",
        "tracker/actions/create.py",
        "tracker/actions/look-up.py",
        "tracker/actions/count.py",
        "tracker/actions/many.py",
        "tracker/actions/ping.py",
        "tracker/actions/a-very-long-name-of-models.py",
        "tracker/on-events/greet.py",
        "tracker/on-events/both.py",
        "legacy/on-events/set-up.py",
    ]


def test_script_that_exists_is_left_alone_however_its_dashes_are_written() -> None:
    everything = generate_scaffolds(config_of(CONFIG), ())
    files = ["tracker/syncs/issues_and_users.py", "legacy/post-connection-scripts/set_up.py"]

    left = generate_scaffolds(config_of(CONFIG), files)

    assert everything.keys() - left.keys() == {
        "tracker/syncs/issues-and-users.py",
        "legacy/on-events/set-up.py",
    }


def test_script_is_written_where_the_compiler_and_the_plan_look_for_it() -> None:
    config = """
    integrations:
      older:
        post-connection-scripts: [set-up, greet]
      newer:
        on-events: {post-connection-creation: [set-up]}
    models: {}
    """
    text = "async def on_event(nango): ...\n"
    files = {
        "nango.yaml": config,
        "older/post-connection-scripts/set_up.py": text,
        "newer/post-connection-scripts/set-up.py": text,
    }
    written = generate_scaffolds(config_of(config), files)
    project = compile_project({**files, **written}).project

    # The folder of the older key counts for the older key only.
    assert list(written) == ["older/on-events/greet.py", "newer/on-events/set-up.py"]
    assert [
        script.path for script in scripts_of(project, project.config.integrations).values()
    ] == [
        "older/post-connection-scripts/set_up.py",
        "older/on-events/greet.py",
        "newer/on-events/set-up.py",
    ]


def test_formatter_and_type_checker_have_nothing_to_say(tmp_path: Path) -> None:
    config = config_of(CONFIG)
    (tmp_path / "models.py").write_text(generate_models_py(config))
    names = []
    for number, text in enumerate(generate_scaffolds(config, ()).values()):
        names.append(f"script_{number}.py")
        (tmp_path / names[-1]).write_text(text)
    ruff = [sys.executable, "-m", "ruff"]
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--disable-error-code=import-untyped",
    ]
    select = ["--select", "E4,E7,E9,F,I,UP,RUF", "--ignore", "A002"]
    for command in (
        [*ruff, "format", "--isolated", "--no-cache", "--check", *names],
        [*ruff, "check", "--isolated", "--no-cache", *select, *names],
        [*mypy, *names],
    ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@given(st.text(max_size=200), st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True))
def test_any_description_and_name_give_a_script_that_parses(description: str, name: str) -> None:
    model = Model(name, (ModelField("id", NativeType("string")),))
    action = Action("do", description.strip(), name, (name,), None, (), "", (name,))
    config = NangoConfig("v2", (Integration("a", actions=(action,)),), (model,))

    (text,) = generate_scaffolds(config, ()).values()

    assert ast.get_docstring(ast.parse(text))
    compile(text, "script.py", "exec")
