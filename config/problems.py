"""What can be wrong with a `nango.yaml`, where exactly, and how it is told to a person.

A `Problem` never needs the file to be understood by a program (`code`, `path`, `position`); with
the text of the file, `format_problem` shows it to a person: the line, underlined, and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Literal

__all__ = [
    "FileCode",
    "NoteCode",
    "Path",
    "Position",
    "Problem",
    "ProblemLog",
    "SchemaCode",
    "SemanticCode",
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
_MOST_SUGGESTIONS = 50


class FileCode(StrEnum):
    """The file could not be read as YAML at all."""

    NOT_FOUND = "file_not_found"
    UNREADABLE = "file_unreadable"
    TOO_LARGE = "file_too_large"
    YAML = "yaml_error"
    TOO_COMPLEX = "yaml_too_complex"


class SchemaCode(StrEnum):
    """First layer: keys that are unknown or missing, values of the wrong kind."""

    NO_INTEGRATIONS = "no_integrations"
    UNKNOWN_KEY = "additionalProperties"
    MISSING_KEY = "required"
    TYPE = "type"
    ENUM = "enum"
    PATTERN = "pattern"
    NO_FORM = "oneOf"


class SemanticCode(StrEnum):
    """Second layer: each value is well-formed, together they make no sense.

    Warnings of this layer are those that Nango gives as well.
    """

    INVALID_MODEL_NAME = "invalid_model_name"
    TYPE_SYNTAX = "type_syntax_error"
    EXTENDS_NOT_FOUND = "model_extends_not_found"
    EXTENDS_CYCLE = "model_extends_cycle"
    DUPLICATE_FIELD = "duplicate_field"
    ENDPOINTS_MISMATCH = "endpoints_mismatch"
    INVALID_RUNS = "invalid_runs"
    BOTH_POST_CONNECTION = "both_post_connection_scripts_and_on_events_present"
    DUPLICATE_MODEL = "duplicate_model"
    MISSING_ID = "model_missing_id"
    DUPLICATE_ENDPOINT = "duplicate_endpoint"
    MODEL_NOT_FOUND = "model_not_found"
    WORD_IS_LITERAL = "model_not_found_fallback"
    CYCLIC_MODEL = "cyclic_model"
    MODEL_IS_LITERAL = "model_is_literal"


class NoteCode(StrEnum):
    """Warnings on what Nango passes over in silence."""

    NO_OUTPUT = "sync_without_output"
    TRACK_DELETES_IGNORED = "track_deletes_ignored"
    KEY_IGNORED = "key_ignored"
    DATE_AS_TYPE = "date_as_type"
    UNKNOWN_WORD = "unknown_word"
    UNUSUAL_METHOD = "unusual_method"


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
    """One thing that is wrong, or worth saying, about a `nango.yaml`.

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


@dataclass(slots=True)
class ProblemLog:
    """Collects what is wrong while a file is read.

    Attributes:
        errors: Errors, in the order they were found.
        warnings: Warnings, in the order they were found.
    """

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    _suggestions: int = 0

    def error(
        self, code: str, message: str, path: Path, position: Position, hint: str | None = None
    ) -> None:
        """Note an error."""
        self.errors.append(Problem(code, message, path, position, hint))

    def warn(
        self, code: str, message: str, path: Path, position: Position, hint: str | None = None
    ) -> None:
        """Note a warning."""
        self.warnings.append(Problem(code, message, path, position, hint, "warning"))

    def mark_follow_ups(self, *, of: str | None, errors: int, warnings: int) -> None:
        """Mark the problems that were found later as follow-ups.

        Args:
            of: Code of the problem they follow, which is not marked; None when it came before.
            errors: How many errors came before.
            warnings: How many warnings came before.
        """
        for problems, start in ((self.errors, errors), (self.warnings, warnings)):
            for index in range(start, len(problems)):
                if problems[index].code != of:
                    problems[index] = replace(problems[index], is_follow_up=True)

    def did_you_mean(self, word: str, candidates: Collection[str]) -> str | None:
        """Return a hint at the candidate that was probably meant, None when nothing is near.

        Looking is dear, so a file with very many mistakes gets hints for the first ones only.
        """
        if self._suggestions >= _MOST_SUGGESTIONS or len(word) > 100:
            return None
        self._suggestions += 1
        near = [known for known in candidates if abs(len(known) - len(word)) <= 3]
        folded = {known.casefold(): known for known in near}
        found = folded.get(word.casefold())
        if found is None:
            match = difflib.get_close_matches(word, near, n=1, cutoff=0.7)
            found = match[0] if match else None
        return f"did you mean `{found}`?" if found else None


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
