"""What can be wrong with a `nango.yaml`: the codes, and the log that collects it."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

from perdure.documents.problems import (
    FileCode,
    Path,
    Position,
    Problem,
    Severity,
    format_problem,
    shorten,
    split_lines,
)

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

_MOST_SUGGESTIONS = 50


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
