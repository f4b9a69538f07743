"""Commands that the documentation shows are commands that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from config.compile import compile_project
from perdure.app.cli.main import app
from tests.docs.blocks import Block, blocks_of
from tests.docs.walk import ROOT

PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.parent.name != "reference"
]
SHELLS = ("console", "sh", "bash")
FORMS = ("...", "[", "|")
"""What stands in commands that show a form and are not to be typed as they are."""


def typed(block: Block) -> Iterator[str]:
    """The lines of a block that are typed, continued ones joined."""
    text = block.content.replace("\\\n", " ")
    for line in text.splitlines():
        if block.language != "console":
            yield line
        elif line.startswith("$ "):
            yield line.removeprefix("$ ")


def perdure_calls(line: str) -> Iterator[list[str]]:
    """The calls of `perdure` in a line of shell, each as its arguments."""
    for part in re.split(r"&&|;|\$\(|\)| \| ", line):
        words = shlex.split(part.partition(" #")[0].partition(" >")[0]) if "perdure" in part else []
        if words and words[0] == "perdure":
            yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_called_so(page: Path) -> None:
    for block in blocks_of(page, page.name):
        if block.language not in SHELLS:
            continue
        for line in typed(block):
            for words in perdure_calls(line):
                if not words or any(form in word for word in words for form in FORMS):
                    continue
                try:
                    app.parse_args(words, print_error=False, exit_on_error=False)
                except CycloptsError as error:
                    pytest.fail(f"{block.place}: perdure {shlex.join(words)}\n{error}")


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs/how-to").glob("*.md")), ids=lambda page: page.stem
)
def test_project_of_a_how_to_compiles(page: Path) -> None:
    files = {block.title: block.content for block in blocks_of(page, page.name) if block.title}
    if "nango.yaml" in files:
        assert compile_project(files).warnings == ()


def test_every_block_of_tutorial_and_how_tos_is_typed_or_a_file_or_says_why_not() -> None:
    marked = set()
    for page in (ROOT / "docs/tutorial.md", *(ROOT / "docs/how-to").glob("*.md")):
        for block in blocks_of(page, page.name):
            if block.not_run is not None:
                marked.add(f"{page.name}: {block.not_run}")
            else:
                assert block.language == "console" or block.title, block.place
    assert marked == {"tutorial.md: installs packages from an index"}
