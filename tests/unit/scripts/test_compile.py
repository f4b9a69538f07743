"""What a deploy refuses, and what it merely tells."""

from __future__ import annotations

import sys
import time

import pytest

from config.compile import check_project, compile_project
from perdure.errors import InvalidInputError
from perdure.scripts.bundle import MODELS_FILE
from tests.support.project import project

V1 = """
integrations:
  old:
    issues: {returns: Issue, runs: every day}
    create: {type: action, returns: Issue}
models:
  Issue: {id: string}
"""
EVENTS = """
integrations:
  tracker:
    on-events:
      post-connection-creation: [greet]
      validate-connection: [check, greet]
  older:
    post-connection-scripts: [greet, set-up]
models: {}
"""
ON_EVENT = "async def on_event(nango): ...\n"


def refused(files: dict[str, str]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        compile_project(files)
    return caught.value


def test_sound_project_compiles_with_its_models() -> None:
    compiled = compile_project({**project(), "README.md": "left out", MODELS_FILE: "old"})

    assert compiled.warnings == ()
    assert set(compiled.project.files) == {
        "nango.yaml",
        MODELS_FILE,
        "tracker/syncs/issues.py",
        "tracker/actions/echo.py",
    }
    assert "class Issue(" in compiled.project.files[MODELS_FILE]


def test_everything_that_is_certain_is_refused_at_once() -> None:
    files = project(
        sync="async def fetch_data(nango):\n    await nango.batch_save([], 'Isue')\n",
        action="def run_action(nango, input): ...\n",
    )
    files["nango.yaml"] = files["nango.yaml"].replace(
        "    actions:\n", "    actions:\n      more: {endpoint: POST /more}\n"
    )
    files["shared.py"] = "def broken(:\n"
    files["tracker/syncs/issues.py"] = f"import shared\n{files['tracker/syncs/issues.py']}"

    error = refused(files)

    assert error.code == "compile_failed"
    assert [(found.code, tuple(found.path)) for found in error.errors] == [
        ("script_not_found", ("tracker", "actions", "more")),
        ("script_syntax_error", ("shared.py",)),
        ("entry_point_invalid", ("tracker/actions/echo.py",)),
    ]
    assert error.payload["problems"][1].startswith("shared.py:1:12: error[script_syntax_error]")
    assert error.message.startswith("3 problems; nothing was deployed.")


def test_model_of_another_sync_is_a_warning_with_the_place_and_the_remedy() -> None:
    # A function that several syncs share may name models of each of them.
    sync = "async def fetch_data(nango):\n    await nango.batch_save([], 'Isue')\n"

    (warning,) = compile_project(project(sync=sync)).warnings

    assert warning == (
        "tracker/syncs/issues.py:2:32: warning[unknown_model]: `Isue` is not an output of the sync"
        " `issues`.\n"
        "   |\n"
        "2  |     await nango.batch_save([], 'Isue')\n"
        "   |                                ^^^^^^\n"
        "   = hint: did you mean `Issue`?"
    )


def test_file_that_does_not_parse_and_that_no_script_imports_is_a_warning() -> None:
    (warning,) = compile_project({**project(), "tools/old.py": "print 'python 2'\n"}).warnings

    assert warning.startswith("tools/old.py:1:1: warning[script_syntax_error]")


def test_what_may_be_meant_is_a_warning() -> None:
    sync = (
        "import time\n"
        "async def fetch_data(nango):\n    nango.log('x')\n    time.sleep(1)\n    nango.nope()\n"
    )
    files = project(sync, action="async def run_action(nango): ...\n")
    endpoint = "endpoint: POST /echo"
    with_input = f"{endpoint}\n        input: Echo"
    files["nango.yaml"] = files["nango.yaml"].replace(endpoint, with_input)

    compiled = compile_project(files)

    firsts = [text.partition("`")[0].strip() for text in compiled.warnings]
    assert firsts == [
        "tracker/actions/echo.py:1:1: warning[input_ignored]: The action declares an input, which",
        "tracker/syncs/issues.py:3:5: warning[missing_await]:",
        "tracker/syncs/issues.py:4:5: warning[forbidden_in_script]: Workflow code cannot use"
        " time.sleep: it could not be replayed.\n   |\n4  |     time.sleep(1)\n"
        "   |     ^^^^^^^^^^\n   = hint: use",
        "tracker/syncs/issues.py:5:5: warning[unknown_method]: There is no",
    ]
    severities = [problem.severity for problem in check_project(files).problems]
    assert severities == ["error", "error", "warning", "error"], "`perdure compile` is stricter"


def test_warnings_of_the_yaml_come_with_their_line() -> None:
    files = project()
    files["nango.yaml"] += "  Unused:\n    id: string\n    state: opne\n"

    [warning] = compile_project(files).warnings

    assert warning.startswith("nango.yaml:")
    assert "state: opne" in warning


def test_yaml_that_is_wrong_is_refused_before_scripts_are_looked_at() -> None:
    files = project(sync="def broken(:\n")
    files["nango.yaml"] = files["nango.yaml"].replace("output: Issue", "output: Isue")

    error = refused(files)

    assert error.code == "failed_to_parse_nango_yaml"
    assert {found.code for found in error.errors} == {"model_missing_id"}
    assert refused({}).code == "failed_to_parse_nango_yaml"


def test_missing_script_of_an_older_file_is_told_where_it_is_named() -> None:
    error = refused({"nango.yaml": V1, "old/syncs/issues.py": "async def fetch_data(n): ...\n"})

    [text] = error.payload["problems"]
    assert text.startswith("nango.yaml:5:5: error[script_not_found]")


def test_scripts_of_events_are_looked_for_in_both_folders() -> None:
    files = {
        "nango.yaml": EVENTS,
        "tracker/on-events/greet.py": ON_EVENT,
        "tracker/on_events/check.py": ON_EVENT,
        "older/post-connection-scripts/greet.py": ON_EVENT,
        "older/on-events/set_up.py": ON_EVENT,
    }
    checked = check_project(files)

    assert checked.problems == ()
    assert [script.path for script in checked.scripts] == list(files)[1:]

    del files["tracker/on-events/greet.py"], files["older/on-events/set_up.py"]
    texts = refused(files).payload["problems"]
    assert [text.partition(" ")[0] for text in texts] == [
        "nango.yaml:5:34:",
        "nango.yaml:6:36:",
        "nango.yaml:8:38:",
    ]


def test_nothing_of_a_script_is_executed() -> None:
    before = set(sys.modules)
    files = project(sync="import this\nraise SystemExit\nasync def fetch_data(nango): ...\n")

    compile_project(files)

    assert "this" not in set(sys.modules) - before


@pytest.mark.slow
def test_large_project_compiles_quickly() -> None:
    helpers = "\n".join(
        f"def f{n}(raw):\n    return {{'id': str(raw['id']), 'title': raw.get('t', {n})}}\n"
        for n in range(40)
    )
    files = {"nango.yaml": "integrations:\n"}
    for number in range(200):
        files["nango.yaml"] += (
            f"  i{number}:\n    syncs:\n"
            f"      s: {{runs: every day, output: Issue, endpoint: /issues}}\n"
        )
        files[f"i{number}/syncs/s.py"] = (
            "from shared.x import f0\n" + helpers + "\nasync def fetch_data(nango):\n"
            "    async for page in nango.paginate('/x'):\n"
            "        await nango.batch_save([f1(f0(raw)) for raw in page], 'Issue')\n"
        )
    files["nango.yaml"] += "models:\n  Issue: {id: string}\n"
    files["shared/x.py"] = helpers

    began = time.process_time()
    compiled = compile_project(files)

    assert compiled.warnings == ()
    assert time.process_time() - began < 5
