"""Parts of a project are checked as what the environment holds when they are deployed."""

from __future__ import annotations

from textwrap import dedent

import pytest

from config.compile import CompiledProject, compile_part, compile_project
from config.partial import Target, touched_outside
from config.plan import plan
from perdure.errors import InvalidInputError

CONFIG = """
integrations:
  tracker:
    syncs:
      issues: {runs: every 1h, output: Issue, endpoint: GET /issues}
      people: {runs: every day, output: Person, endpoint: GET /people}
  chat:
    syncs:
      messages: {runs: every 5m, output: Message, endpoint: GET /messages}
models:
  Issue: {id: string}
  Person: {id: string}
  Message: {id: string}
"""
CALLS = "from shared.api import call\n\nasync def fetch_data(nango):\n    call()\n"
FILES = {
    "nango.yaml": CONFIG,
    "shared/api.py": "def call():\n    return 1\n",
    "tracker/syncs/issues.py": CALLS,
    "tracker/syncs/people.py": "async def fetch_data(nango):\n    pass\n",
    "chat/syncs/messages.py": CALLS,
}
ISSUES = Target(sync="issues")


def deploy(
    target: Target, *, active: dict[str, str] = FILES, **files: str | None
) -> CompiledProject:
    """Deploy a part of `FILES`; other contents by path with `__` for a slash, None for no file."""
    changes = {path.replace("__", "/") + ".py": text for path, text in files.items()}
    wanted = {path: text for path, text in {**FILES, **changes}.items() if text is not None}
    return compile_part(wanted, compile_project(active).project, target)


def refused(target: Target, **files: str | None) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        deploy(target, **files)
    return caught.value


def test_name_that_a_shared_module_loses_stops_the_deploy_of_a_part() -> None:
    renamed = CALLS.replace("call", "request")

    error = refused(
        ISSUES,
        shared__api="def request():\n    return 1\n",
        tracker__syncs__issues=renamed,
        chat__syncs__messages=renamed,
    )

    assert error.code == "compile_failed"
    (text,) = error.payload["problems"]
    assert text == dedent("""\
        chat/syncs/messages.py:1:1: error[script_import_error]: There is no `call` in shared/api.py.
           |
        1  | from shared.api import call
           | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
           = hint: this file stays as it is deployed: deploy the scripts that use it as well""")


def test_name_that_is_looked_up_when_it_is_needed_is_a_warning() -> None:
    uses = "from shared import api\n\nasync def fetch_data(nango):\n    api.call()\n"
    active = {**FILES, "chat/syncs/messages.py": uses}
    renamed = CALLS.replace("call", "request")

    compiled = deploy(
        ISSUES,
        active=active,
        shared__api="def request():\n    return 1\n",
        tracker__syncs__issues=renamed,
    )

    (warning,) = compiled.warnings
    assert warning.startswith("chat/syncs/messages.py:4:5: warning[unknown_name]")


@pytest.mark.parametrize("target", [ISSUES, Target("tracker")])
@pytest.mark.parametrize("broken", [None, "def broken(:\n", "def fetch_data(nango): ...\n"])
def test_script_of_another_integration_stops_no_part(target: Target, broken: str | None) -> None:
    compiled = deploy(target, chat__syncs__messages=broken)

    assert compiled.warnings == ()
    assert compiled.project.files["chat/syncs/messages.py"] == CALLS


@pytest.mark.parametrize("broken", [None, "def broken(:\n", "def fetch_data(nango): ...\n"])
def test_script_of_the_part_stops_it(broken: str | None) -> None:
    assert refused(ISSUES, tracker__syncs__issues=broken).code == "compile_failed"
    assert refused(Target("tracker"), tracker__syncs__people=broken).code == "compile_failed"
    assert deploy(ISSUES, tracker__syncs__people=broken).warnings == ()


def test_script_of_the_part_that_is_missing_is_told_with_its_place() -> None:
    (text,) = refused(ISSUES, tracker__syncs__issues=None).payload["problems"]

    assert text.startswith("nango.yaml:5:7: error[script_not_found]")


def test_what_was_wrong_before_with_what_stays_is_not_said_again() -> None:
    looks_wrong = "import time\nasync def fetch_data(nango):\n    time.sleep(1)\n"
    active = {**FILES, "chat/syncs/messages.py": looks_wrong}

    assert len(compile_project(active).warnings) == 1
    assert deploy(ISSUES, active=active).warnings == ()
    (warning,) = deploy(Target("chat"), active=active, chat__syncs__messages=looks_wrong).warnings
    assert "time.sleep" in warning


def test_model_that_is_not_deployed_with_the_part_is_missing_in_it() -> None:
    config = CONFIG + "  Team: {id: string}\n"
    imports = "from models import Team\n\nasync def fetch_data(nango):\n    Team\n"
    files = {**FILES, "nango.yaml": config, "tracker/syncs/issues.py": imports}

    with pytest.raises(InvalidInputError) as caught:
        compile_part(files, compile_project(FILES).project, ISSUES)

    assert "There is no `Team` in models.py." in caught.value.message
    assert compile_project(files).warnings == ()


def test_script_of_the_same_name_elsewhere_is_not_part_of_the_target() -> None:
    config = CONFIG.replace("messages:", "issues:")
    scripts = {**FILES, "chat/syncs/issues.py": CALLS}
    active = compile_project({**scripts, "nango.yaml": config}).project
    changed = {**scripts, "nango.yaml": CONFIG, "shared/api.py": "def call(): ...\n"}

    compiled = compile_part(changed, active, ISSUES)

    assert compiled.target == Target("tracker", sync="issues")
    assert touched_outside(plan(active, compiled.project), compiled.target) == ["chat/issues"]


def test_yaml_that_is_wrong_stops_every_part() -> None:
    files = {**FILES, "nango.yaml": CONFIG.replace("output: Message", "output: Mesage")}

    with pytest.raises(InvalidInputError) as caught:
        compile_part(files, compile_project(FILES).project, ISSUES)

    assert caught.value.code == "failed_to_parse_nango_yaml"
