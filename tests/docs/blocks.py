"""The blocks of a page of the documentation that a reader types or writes into files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["Block", "Command", "blocks_of"]

_TITLE = re.compile(r'title="([^"]*)"')
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")


@dataclass(frozen=True)
class Command:
    """What is typed at a prompt, and the lines that the page shows after it."""

    text: str
    shown: tuple[str, ...]
    line: int

    @property
    def fails(self) -> bool:
        """Whether the page shows that it fails."""
        return any(line.startswith("error: ") for line in self.shown)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: The first word behind the fence; `console` is typed, the rest are files.
        title: The file's path, or the name of a terminal; empty for the first terminal.
        line: Where it begins, counted from 1.
        not_run: Why it is not executed; None where it is.
    """

    page: str
    language: str
    title: str
    content: str
    line: int
    not_run: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[Command]:
        """The commands of a `console` block; a backslash at its end continues a line."""
        found: list[Command] = []
        typed: list[str] = []
        shown: list[str] = []
        began = self.line
        for number, line in enumerate(self.content.splitlines(), self.line + 1):
            if line.startswith("$ "):
                if typed:
                    found.append(Command("\n".join(typed), tuple(shown), began))
                typed, shown, began = [line.removeprefix("$ ")], [], number
            elif typed and typed[-1].endswith("\\") and not shown:
                typed.append(line.removeprefix("> "))
            else:
                assert typed, f"{self.place} begins with output"
                shown.append(line)
        found.append(Command("\n".join(typed), tuple(shown), began))
        return found


def blocks_of(page: Path, name: str) -> list[Block]:
    """The blocks of a page in their order; `<!-- not run: reason -->` before one marks it."""
    found = []
    not_run: str | None = None
    for token in MarkdownIt().parse(page.read_text()):
        if token.type == "html_block" and (mark := _NOT_RUN.search(token.content)):
            not_run = mark[1]
        elif token.type == "fence":
            assert token.map is not None
            title = _TITLE.search(token.info)
            language = token.info.split()[0] if token.info else ""
            found.append(
                Block(
                    page=name,
                    language=language,
                    title=title[1] if title else "",
                    content=token.content,
                    line=token.map[0] + 1,
                    not_run=not_run,
                )
            )
            not_run = None
    return found
