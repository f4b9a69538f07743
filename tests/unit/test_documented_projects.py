"""What pages of the documentation show of a project is what the project holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.compile import compile_project
from perdure.scripts.bundle import MODELS_FILE, project_files

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "from_nango"
PAGE = (ROOT / "docs" / "migrating-from-nango.md").read_text()
BLOCKS = re.findall(r"^```(ts|js|python|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SOURCES = {
    language: [file.read_text() for file in PROJECT.rglob(f"*.{ending}")]
    for language, ending in {"ts": "ts", "js": "mjs", "python": "py", "yaml": "yaml"}.items()
}


@pytest.mark.parametrize(("language", "block"), BLOCKS)
def test_block_of_the_migration_page_is_part_of_the_example(language: str, block: str) -> None:
    assert any(block in source for source in SOURCES[language])


def test_migration_page_shows_every_script_of_the_example() -> None:
    shown = "".join(block for language, block in BLOCKS if language == "python")

    for folder in ("syncs", "actions", "on-events"):
        for script in (PROJECT / "github" / folder).glob("*.py"):
            entry = re.search(r"^async def .*?(?=\n\n\n|\Z)", script.read_text(), re.M | re.S)
            assert entry is not None
            assert entry[0].strip() in shown


def test_migrated_project_compiles_and_its_models_are_up_to_date() -> None:
    compiled = compile_project(project_files(PROJECT))

    # Words that stand for themselves are told of, as they were before.
    [warning] = compiled.warnings
    assert "model_not_found_fallback" in warning
    assert (PROJECT / MODELS_FILE).read_text() == compiled.project.files[MODELS_FILE]


def test_every_script_of_before_has_its_counterpart() -> None:
    before = {file.relative_to(PROJECT / "before") for file in PROJECT.glob("before/**/*.ts")}

    assert before
    assert all((PROJECT / file).with_suffix(".py").is_file() for file in before)
