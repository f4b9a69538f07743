"""Project folders: what `init` writes, what `config check` and `generate` make of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from config.compile import compile_project
from perdure.app.cli.starter import starter_files
from perdure.scripts.bundle import MODELS_FILE, project_files
from tests.unit.cli.calls import Run

EXAMPLES = Path(__file__).parents[3] / "examples"
BROKEN = "integrations:\n  a:\n    syncs:\n      b:\n        output: C\n"


def test_written_project_compiles_without_a_warning(run: Run) -> None:
    assert run("init", "p").code == 0

    compiled = compile_project(project_files(Path("p")))

    assert compiled.warnings == ()
    assert Path("p", MODELS_FILE).read_text() == compiled.project.files[MODELS_FILE]
    assert ".env" in Path("p", ".gitignore").read_text().split()


def test_init_never_touches_what_exists(run: Run) -> None:
    Path("nango.yaml").write_text("mine")
    Path(".env").write_text("mine")

    result = run("init")

    assert result.code == 0
    assert (Path("nango.yaml").read_text(), Path(".env").read_text()) == ("mine", "mine")
    assert not Path(MODELS_FILE).exists()
    assert "kept   nango.yaml" in result.out
    assert "nothing was written" in run("init").out


def test_comments_of_the_env_file_name_no_server(run: Run) -> None:
    lines = starter_files()[".env"].splitlines()

    assert all(line.startswith("#") for line in lines if line)


def test_folder_that_cannot_be_written_to_is_named(run: Run) -> None:
    Path("file").write_text("")

    result = run("init", "file")

    assert result.code == 1
    assert "file cannot be written to" in result.err


@pytest.mark.parametrize("name", ["stripe", "github"])
def test_example_compiles_and_its_models_are_up_to_date(name: str) -> None:
    compiled = compile_project(project_files(EXAMPLES / name))

    assert compiled.warnings == ()
    assert (EXAMPLES / name / MODELS_FILE).read_text() == compiled.project.files[MODELS_FILE]


def test_check_prints_one_document_for_one_file(run: Run) -> None:
    Path("nango.yaml").write_text(BROKEN)

    result = run("config", "check", "--json")

    assert result.code == 10
    assert result.json["accepted"] is False
    assert len(result.out.splitlines()) == 1
    assert run("config", "check", "nango.yaml", "--json").json == result.json | {
        "file": "nango.yaml"
    }


@pytest.mark.parametrize("name", ["x" * 300, "nango.yaml/x", "\udcff.yaml"])
def test_check_prints_a_document_for_what_cannot_be_read(run: Run, name: str) -> None:
    Path("nango.yaml").write_text(BROKEN)

    result = run("config", "check", name, "--json")

    assert result.code == 10
    [document] = [json.loads(line) for line in result.out.splitlines()]
    assert document["file"] == name
    assert document["load"] in ("file_not_found", "file_unreadable")


def test_check_prints_a_document_a_line_for_several_files(run: Run) -> None:
    shutil.copy(EXAMPLES / "stripe" / "nango.yaml", "good.yaml")
    Path("bad.yaml").write_text(BROKEN)

    result = run("config", "check", "good.yaml", "bad.yaml", "missing.yaml", "--json")

    assert result.code == 10
    documents = [json.loads(line) for line in result.out.splitlines()]
    assert [(d["file"], d["accepted"], d["load"]) for d in documents] == [
        ("good.yaml", True, "ok"),
        ("bad.yaml", False, "ok"),
        ("missing.yaml", False, "file_not_found"),
    ]


def test_check_shows_people_the_line(run: Run) -> None:
    Path("bad.yaml").write_text(BROKEN)

    result = run("config", "check", "bad.yaml")

    assert "bad.yaml:4:7: error[required]" in result.err
    assert "bad.yaml: 3 errors" in result.err


def test_check_says_what_a_good_file_holds(run: Run) -> None:
    result = run("config", "check", str(EXAMPLES / "stripe"))

    assert result.code == 0
    assert "fine (1 integration, 2 syncs, 1 action, 5 models)" in result.out


def test_generate_writes_models_anew(run: Run) -> None:
    run("init")
    models = Path(MODELS_FILE).read_text()
    Path(MODELS_FILE).write_text("old")

    assert run("generate").code == 0
    assert Path(MODELS_FILE).read_text() == models


def test_generate_leaves_models_alone_when_the_file_is_wrong(run: Run) -> None:
    Path("nango.yaml").write_text(BROKEN)
    Path(MODELS_FILE).write_text("old")

    result = run("generate")

    assert result.code == 10
    assert "error[required]" in result.err
    assert Path(MODELS_FILE).read_text() == "old"


def test_printed_schema_is_the_one_that_init_and_generate_write_and_the_project_names(
    run: Run,
) -> None:
    printed = run("config", "schema").out
    path = Path(".nango/nango.schema.json")

    run("init")
    assert path.read_text() == printed
    line = Path("nango.yaml").read_text().splitlines()[0]
    assert line == f"# yaml-language-server: $schema={path}"

    path.unlink()
    assert run("generate").code == 0
    assert path.read_text() == printed
