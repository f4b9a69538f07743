"""What the checks of scripts are told about a script, and what they find in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from perdure.scripts.bundle import ScriptKind

__all__ = [
    "ABOUT_ENTRY_POINTS",
    "CERTAIN",
    "DeclaredScript",
    "EntryPoint",
    "Finding",
    "LintCode",
    "Severity",
]

Severity = Literal["error", "warning"]


class LintCode(StrEnum):
    """What can be wrong with a script. A run that fails for the same reason has the same code."""

    MISSING = "script_not_found"
    SYNTAX = "script_syntax_error"
    IMPORT = "script_import_error"
    NO_ENTRY_POINT = "entry_point_missing"
    ENTRY_POINT = "entry_point_invalid"
    INPUT_IGNORED = "input_ignored"
    NO_WEBHOOK_HANDLER = "webhook_handler_missing"
    UNKNOWN_MODEL = "unknown_model"
    RECORDS_OUTSIDE_SYNC = "records_outside_sync"
    UNKNOWN_METHOD = "unknown_method"
    UNKNOWN_NAME = "unknown_name"
    MISSING_AWAIT = "missing_await"
    PAGES_NOT_ITERATED = "pages_not_iterated"
    TRACK_DELETES = "track_deletes_unpaired"
    MERGING_STRATEGY = "merging_strategy_too_late"
    FORBIDDEN = "forbidden_in_script"
    INVALID_STEP = "invalid_step"


CERTAIN = frozenset(
    {
        LintCode.MISSING,
        LintCode.SYNTAX,
        LintCode.IMPORT,
        LintCode.NO_ENTRY_POINT,
        LintCode.ENTRY_POINT,
        LintCode.NO_WEBHOOK_HANDLER,
    }
)
"""Errors after which a run could only fail; the others are told from how the code looks."""

ABOUT_ENTRY_POINTS = frozenset(
    {
        LintCode.NO_ENTRY_POINT,
        LintCode.ENTRY_POINT,
        LintCode.INPUT_IGNORED,
        LintCode.NO_WEBHOOK_HANDLER,
    }
)
"""Errors of the functions that the engine calls."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A function that the engine calls.

    Attributes:
        name: Its name.
        parameters: What it is called with, as it is written.
        fewest: How many of them the function must take at least.
        code: What it is called when the script does not define it.
    """

    name: str
    parameters: tuple[str, ...]
    fewest: int
    code: LintCode = LintCode.NO_ENTRY_POINT

    def __str__(self) -> str:
        return f"async def {self.name}({', '.join(self.parameters)})"


@dataclass(frozen=True, slots=True)
class DeclaredScript:
    """A script that `nango.yaml` names.

    Attributes:
        path: Its file, below the project folder.
        kind: What it is.
        name: Its name.
        models: Output models of a sync.
        takes_input: Whether an action declares an input.
        takes_webhooks: Whether a sync subscribes to webhooks.
    """

    path: str
    kind: ScriptKind
    name: str
    models: tuple[str, ...] = ()
    takes_input: bool = False
    takes_webhooks: bool = False

    @property
    def entry_points(self) -> tuple[EntryPoint, ...]:
        """What its file must define."""
        match self.kind:
            case ScriptKind.SYNC if self.takes_webhooks:
                return (_FETCH_DATA, _ON_WEBHOOK)
            case ScriptKind.SYNC:
                return (_FETCH_DATA,)
            case ScriptKind.ACTION:
                return (EntryPoint("run_action", ("nango", "input"), 2 if self.takes_input else 1),)
            case ScriptKind.ON_EVENT:
                return (_ON_EVENT,)


_FETCH_DATA = EntryPoint("fetch_data", ("nango",), 1)
_ON_WEBHOOK = EntryPoint(
    "on_webhook_payload_received", ("nango", "payload"), 2, LintCode.NO_WEBHOOK_HANDLER
)
_ON_EVENT = EntryPoint("on_event", ("nango",), 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a script, or worth saying about it.

    Attributes:
        code: What it is.
        message: One sentence for people.
        path: The file, below the project folder.
        line: Where it begins; lines and columns count from 1.
        column: Its first column.
        end_line: Where it ends.
        end_column: The column behind its last one.
        hint: What to do about it, None when the message says it already.
        severity: A script with an error is refused.
    """

    code: LintCode
    message: str
    path: str
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 2
    hint: str | None = None
    severity: Severity = "error"
