"""The terminal: how sentences, tables, facts and errors look.

Results go to standard output, everything about how it went to standard error, so that `--json` can
be piped. Text that came from elsewhere cannot move the cursor or colour the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from perdure.app.cli.errors import ApiError, CliError, hint_for
from perdure.errors import InvalidInputError, PerdureError

__all__ = [
    "done",
    "failure",
    "note",
    "plain_lines",
    "print_facts",
    "print_json",
    "print_json_line",
    "print_table",
    "problem",
    "say",
    "show",
    "styled",
]

_PIPE_WIDTH = 200
_STYLES = {
    "success": "green",
    "delivered": "green",
    "running": "cyan",
    "pending": "cyan",
    "waiting": "yellow",
    "failed": "red",
    "error": "red",
    "timeout": "red",
    "cancelled": "yellow",
    "paused": "yellow",
    "stopped": "yellow",
    "added": "green",
    "updated": "cyan",
    "deleted": "red",
}


def print_json(value: object) -> None:
    """Print a value as JSON, for programs."""
    sys.stdout.write(f"{json.dumps(value, indent=2, ensure_ascii=False)}\n")


def print_json_line(value: object) -> None:
    """Print a value as a line of JSON, as soon as it is there."""
    sys.stdout.write(f"{json.dumps(value, ensure_ascii=False)}\n")
    sys.stdout.flush()


def done(answer: object, text: str, *, as_json: bool) -> None:
    """Print what was done: as a sentence for people, or the server's answer for programs."""
    if as_json:
        print_json(answer)
    else:
        say(text)


def say(text: str) -> None:
    """Print a result that is a sentence."""
    _out().print(_plain(text), soft_wrap=True)


def show(text: Text) -> None:
    """Print a styled result."""
    _out().print(text, soft_wrap=True)


def note(text: str) -> None:
    """Print something about how it went, apart from the results."""
    _err().print(_plain(text, "dim"))


def failure(error: PerdureError) -> None:
    """Print why a command failed: one line, what is wrong in detail, and a hint."""
    details: Sequence[str] = ()
    if isinstance(error, ApiError):
        details = error.details
    elif isinstance(error, InvalidInputError):
        details = [field.message for field in error.errors]
    # A message that repeats its details in further lines is told by its first one; a detail that
    # repeats the message adds nothing.
    message = error.message.partition("\n")[0] if details else error.message
    details = [detail for detail in details if not detail.endswith(message)]
    console = _err()
    console.print(Text("error: ", style="bold red") + plain_lines(message))
    for detail in details:
        console.print(Text.assemble("  ", plain_lines(detail.replace("\n", "\n  "))))
    hint = error.hint if isinstance(error, CliError) else hint_for(error.code)
    if hint:
        console.print(Text("hint: ", style="cyan") + _plain(hint))


def problem(text: str, severity: Literal["error", "warning"]) -> None:
    """Print a problem of a file; its first line says what it is."""
    first, newline, rest = text.partition("\n")
    headline = _plain(first, "red" if severity == "error" else "yellow")
    _err().print(headline + plain_lines(newline + rest))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    whole: Collection[str] = (),
    empty: str | None = None,
) -> None:
    """Print a table.

    Args:
        columns: Their headings.
        rows: What stands in them.
        whole: Columns that are not broken into lines while the terminal is wide enough for them.
        empty: What to say instead of an empty table.
    """
    if not rows:
        if empty:
            note(empty)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _out().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print facts under each other; those without a value are left out."""
    for name, value in facts.items():
        if value not in (None, "", "{}"):
            shown = value if isinstance(value, Text) else _plain(str(value))
            show(Text(f"{name:<15}", style="dim") + shown)


def styled(word: str) -> Text:
    """Return a word that says how something stands, in its colour."""
    return Text(word.lower(), style=_STYLES.get(word.lower(), ""))


def plain_lines(text: str, style: str = "") -> Text:
    """Return text from elsewhere without what a terminal would act upon."""
    return Text("\n").join(_plain(line, style) for line in text.split("\n"))


def _plain(text: str, style: str = "") -> Text:
    return Text("".join(char if char.isprintable() else " " for char in text), style=style)


def _cell(value: object) -> RenderableType:
    return value if isinstance(value, Text) else _plain("" if value is None else str(value))


def _out() -> Console:
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False)


def _err() -> Console:
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)
