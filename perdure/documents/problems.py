"""What can be wrong with a file that people write, where exactly, and how it is told to a person.

A `Problem` never needs the file to be understood by a program (`code`, `path`, `position`); with
the text of the file, `format_problem` shows it to a person: the line, underlined, and what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

__all__ = [
    "FileCode",
    "Path",
    "Position",
    "Problem",
    "Severity",
    "format_problem",
    "shorten",
    "split_lines",
]

Severity = Literal["error", "warning"]

Path = tuple[str | int, ...]
"""Where in the file something stands, as the names and list indexes that lead to it."""

_SHOWN_COLUMNS = 140
_LINE_END = re.compile(r"\r\n|\r|\n")


class FileCode(StrEnum):
    """The file could not be read as YAML at all."""

    NOT_FOUND = "file_not_found"
    UNREADABLE = "file_unreadable"
    TOO_LARGE = "file_too_large"
    YAML = "yaml_error"
    TOO_COMPLEX = "yaml_too_complex"


@dataclass(frozen=True, slots=True)
class Position:
    """A stretch of the file; lines and columns count from 1, the end column is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth saying, about a file.

    Attributes:
        code: Stable machine-readable name, a value of one of the code enums of this module.
        message: One sentence for people.
        path: Names and list indexes that lead to the place. Problems of the second layer start
            with the integration (or the model) and end with a bracketed part such as `[output]`
            where Nango's do.
        position: Where it stands, None when there is no file to point into.
        hint: What to do about it, None when the message says it already.
        severity: A file with an error is refused; warnings are told and passed over.
        is_follow_up: It comes on top of another error, which Nango stops at.
    """

    code: str
    message: str
    path: Path = ()
    position: Position | None = None
    hint: str | None = None
    severity: Severity = "error"
    is_follow_up: bool = False


def format_problem(problem: Problem, source: str | None = None) -> str:
    """Return a problem as people read it in a terminal, without a newline at its end.

    Args:
        problem: The problem.
        source: Text of the file; without it the offending line is not shown.
    """
    position = problem.position
    where = f"{position.file}:{position.line}:{position.column}: " if position else ""
    lines = [f"{where}{problem.severity}[{problem.code}]: {_printable(problem.message)}"]
    margin = ""
    if position and source is not None:
        margin = " " * len(str(position.line))
        lines += _excerpt(position, _lines(source), margin)
    if problem.hint:
        lines.append(f"{margin}  = hint: {_printable(problem.hint)}")
    return "\n".join(lines)


@lru_cache(maxsize=1)
def _lines(source: str) -> list[str]:
    return split_lines(source)


def _printable(text: str) -> str:
    """Return `text` without what a terminal would act upon, at the same length."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _excerpt(position: Position, source: list[str], margin: str) -> list[str]:
    if position.line > len(source):
        return []
    text = _printable(source[position.line - 1])
    start = position.column - 1
    end = position.end_column - 1 if position.end_line == position.line else len(text.rstrip())
    left = max(0, start - _SHOWN_COLUMNS // 2)
    shown = text[left : left + _SHOWN_COLUMNS].rstrip()
    width = max(1, min(end, left + len(shown)) - start)
    return [
        f"{margin}  |",
        f"{position.line}  | {shown}",
        f"{margin}  | {' ' * (start - left)}{'^' * width}",
    ]


def split_lines(text: str) -> list[str]:
    """Return the lines of `text` as YAML counts them, without their ends."""
    lines = _LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def shorten(text: str, limit: int = 60) -> str:
    """Return `text` as one line of at most `limit` characters, for use in a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
