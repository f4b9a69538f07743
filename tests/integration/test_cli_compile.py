"""`perdure generate` and `perdure compile` as whoever writes a project runs them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

CONFIG = """
integrations:
  tracker:
    syncs:
      issues:
        description: All issues
        runs: every day
        output: Issue
        endpoint: GET /issues
        webhook-subscriptions: "*"
    actions:
      create-issue:
        input: NewIssue
        output: Issue
        endpoint: POST /issues
    on-events:
      validate-connection: [check]
models:
  Issue: {id: string, title: string}
  NewIssue: {title: string}
"""
SCRIPTS = (
    "tracker/syncs/issues.py",
    "tracker/actions/create-issue.py",
    "tracker/on-events/check.py",
)


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def perdure(folder: Path, *arguments: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perdure", *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ended(process.returncode, out.decode(), err.decode())


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, {"nango.yaml": CONFIG})
    return tmp_path


async def test_what_is_generated_compiles_without_a_word(folder: Path) -> None:
    generated = await perdure(folder, "generate")
    compiled = await perdure(folder, "compile")

    assert generated.code == 0, generated.err
    assert generated.out.splitlines() == [
        "Wrote models.py.",
        "Wrote .nango/schema.json.",
        "Wrote .nango/nango.schema.json.",
        *(f"Wrote {path} to fill in." for path in SCRIPTS),
    ]
    assert (compiled.code, compiled.out, compiled.err) == (
        0,
        "Fine: 1 integration, 3 scripts.\n",
        "",
    )
    schema = json.loads((folder / ".nango" / "schema.json").read_text())
    assert schema["definitions"]["NewIssue"]["required"] == ["title"]


async def test_script_that_exists_is_never_overwritten(folder: Path) -> None:
    write(folder, {"tracker/actions/create_issue.py": "mine", SCRIPTS[0]: "mine, too"})

    first = await perdure(folder, "generate")
    second = await perdure(folder, "generate", "--project", str(folder))

    assert [line for line in first.out.splitlines() if "fill in" in line] == [
        f"Wrote {SCRIPTS[2]} to fill in."
    ]
    assert "fill in" not in second.out
    assert (folder / "tracker/actions/create_issue.py").read_text() == "mine"
    assert (folder / SCRIPTS[0]).read_text() == "mine, too"
    assert not (folder / SCRIPTS[1]).exists()


async def test_script_in_a_folder_that_is_not_deployed_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"nango.yaml": CONFIG.replace("tracker:", "build:")})
    write(tmp_path, {"build/syncs/issues.py": "mine"})

    generated = await perdure(tmp_path, "generate")

    assert generated.code == 0
    assert (tmp_path / "build/syncs/issues.py").read_text() == "mine"


async def test_folder_that_cannot_be_written_to_is_one_line(folder: Path) -> None:
    (folder / ".nango").write_text("a file")

    generated = await perdure(folder, "generate")

    assert generated.code == 1
    assert generated.err.startswith("error: .nango cannot be written to")


async def test_everything_that_is_wrong_is_said_at_once(folder: Path) -> None:
    write(
        folder,
        {
            SCRIPTS[0]: """
            import time

            async def fetch_data(nango):
                time.sleep(1)
                nango.log("x")
                await nango.batch_save([], "Isue")
            """,
            SCRIPTS[2]: "import no_such_module_anywhere\nasync def on_event(nango): ...\n",
            "shared/broken.py": "x = (\n",
        },
    )
    shown = await perdure(folder, "compile")
    document = await perdure(folder, "compile", "--json")

    assert (shown.code, document.code) == (10, 10)
    heads = [line.partition(": ")[0] + ": " for line in shown.err.splitlines() if "[" in line[:80]]
    assert heads[0] == "nango.yaml:12:7: "
    assert shown.err.splitlines()[-1] == "6 errors, 1 warning"
    assert document.json["ok"] is False
    places = [
        (found["code"], found["file"], found["line"], found["column"])
        for found in document.json["errors"]
    ]
    assert places == [
        ("script_not_found", "nango.yaml", 12, 7),
        ("script_syntax_error", "shared/broken.py", 1, 5),
        ("script_import_error", SCRIPTS[2], 1, 1),
        ("webhook_handler_missing", SCRIPTS[0], 1, 1),
        ("missing_await", SCRIPTS[0], 6, 5),
        ("unknown_model", SCRIPTS[0], 7, 32),
    ]
    [warning] = document.json["warnings"]
    assert (warning["code"], warning["line"]) == ("forbidden_in_script", 5)
    assert (
        f"{SCRIPTS[0]}:5:5: warning[forbidden_in_script]: Workflow code cannot use time.sleep: it"
        " could not be replayed.\n"
        "   |\n"
        "5  |     time.sleep(1)\n"
        "   |     ^^^^^^^^^^\n"
        "   = hint: use `await asyncio.sleep(seconds)`, a durable timer, or"
    ) in shown.err


async def test_name_that_a_module_lacks_is_told_once(folder: Path) -> None:
    await perdure(folder, "generate")
    text = (folder / SCRIPTS[2]).read_text()
    write(folder, {"shared/api.py": "def call(): ...\n"})
    (folder / SCRIPTS[2]).write_text(f"from shared.api import cal\n{text}")

    compiled = await perdure(folder, "compile", "--json")

    (found,) = compiled.json["errors"]
    assert (found["code"], found["file"], found["line"]) == ("script_import_error", SCRIPTS[2], 1)
    assert found["hint"] == "did you mean `call`?"


async def test_warnings_alone_do_not_fail(folder: Path) -> None:
    await perdure(folder, "generate")
    text = (folder / SCRIPTS[2]).read_text()
    (folder / SCRIPTS[2]).write_text(f"{text}    open('x')\n")

    compiled = await perdure(folder, "compile")

    assert (compiled.code, compiled.out) == (0, "Fine: 1 integration, 3 scripts, 1 warning.\n")
    assert "warning[forbidden_in_script]" in compiled.err


async def test_what_a_script_prints_does_not_spoil_the_document(folder: Path) -> None:
    await perdure(folder, "generate")
    text = (folder / SCRIPTS[2]).read_text()
    (folder / SCRIPTS[2]).write_text(f"{text}\nprint('hello')\n")

    compiled = await perdure(folder, "compile", "--json")

    assert compiled.json == {"ok": True, "errors": [], "warnings": []}
    assert compiled.err == "hello\n"


async def test_yaml_that_is_wrong_and_yaml_that_is_not_there_fail_alike(tmp_path: Path) -> None:
    missing = await perdure(tmp_path, "compile")
    write(tmp_path, {"nango.yaml": CONFIG.replace("output: Issue", "output: Isue")})
    wrong = await perdure(tmp_path, "compile")

    assert (missing.code, wrong.code) == (10, 10)
    assert missing.err.startswith("error: No nango.yaml in .")
    assert "error[model_missing_id]" in wrong.err
    assert "did you mean `Issue`?" in wrong.err


@pytest.mark.slow
async def test_fifty_integrations_compile_in_three_seconds(tmp_path: Path) -> None:
    scripts = "".join(
        f"  i{number}:\n"
        "    syncs:\n"
        f"      first: {{runs: every day, output: M{number}, endpoint: /first}}\n"
        f"      second: {{runs: every day, output: N{number}, endpoint: /second}}\n"
        "    actions:\n"
        f"      act: {{input: M{number}, output: N{number}, endpoint: POST /act}}\n"
        for number in range(50)
    )
    fields = ", ".join(f"f{n}: string | null" for n in range(20))
    models = "".join(
        f"  {kind}{number}: {{id: string, {fields}}}\n" for number in range(50) for kind in "MN"
    )
    write(tmp_path, {"nango.yaml": f"integrations:\n{scripts}models:\n{models}"})
    assert (await perdure(tmp_path, "generate")).code == 0

    took = []
    for _ in range(3):
        began = sum(os.times()[2:4])
        compiled = await perdure(tmp_path, "compile")
        # Of the processor: what else runs on the machine does not count.
        took.append(sum(os.times()[2:4]) - began)

    assert compiled.out == "Fine: 50 integrations, 150 scripts.\n", compiled.err
    assert min(took) < 3
