"""What the commands print: tables for people, JSON for programs, one line for an error.

Results go to standard output, everything about how it went to standard error, so that `--json` can
be piped. Text that came from elsewhere cannot move the cursor or colour the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from perdure.app.cli.errors import ApiError, CliError, hint_for
from perdure.errors import InvalidInputError, PerdureError
from perdure.nango import JsonObject

__all__ = [
    "connection",
    "connections",
    "counts_text",
    "deployment",
    "failure",
    "integrations",
    "note",
    "plain_deployment",
    "print_json",
    "problem",
    "records",
    "run",
    "runs",
    "say",
    "sync_status",
    "warning",
]

_PIPE_WIDTH = 200
_LONGEST_CELL = 48
_RECORD_COLUMNS = 4
_STYLES = {
    "success": "green",
    "running": "cyan",
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


def say(text: str) -> None:
    """Print a result that is a sentence."""
    _out().print(_text(text))


def note(text: str) -> None:
    """Print something about how it went, apart from the results."""
    _err().print(_text(text, "dim"))


def warning(text: str) -> None:
    """Print something to look at, apart from the results."""
    _err().print(Text("warning: ", style="yellow") + _lines(text))


def failure(error: PerdureError) -> None:
    """Print why a command failed: one line, what is wrong in detail, and a hint."""
    details: Sequence[str] = ()
    if isinstance(error, ApiError):
        details = error.details
    elif isinstance(error, InvalidInputError):
        details = [field.message for field in error.errors]
    # A message that repeats its details in further lines is told by its first one.
    message = error.message.partition("\n")[0] if details else error.message
    console = _err()
    console.print(Text("error: ", style="bold red") + _lines(message))
    for detail in details:
        console.print(Text.assemble("  ", _lines(detail.replace("\n", "\n  "))))
    hint = error.hint if isinstance(error, CliError) else hint_for(error.code)
    if hint:
        console.print(Text("hint: ", style="cyan") + _text(hint))


def deployment(answer: JsonObject, seconds: float) -> None:
    """Print what a deploy did."""
    bundle = str(answer["bundle"])[:12]
    if answer["changed"]:
        say(f"Deployed bundle {bundle} in {seconds:.1f} s.")
    else:
        say(f"Bundle {bundle} is deployed already; nothing changed.")
    rows: list[Sequence[object]] = []
    for integration in answer["integrations"]:
        key = integration["key"]
        rows += [
            (key, "sync", sync["name"], sync["runs"], ", ".join(sync["models"]))
            for sync in integration["syncs"]
        ]
        rows += [(key, "action", action["name"], "", "") for action in integration["actions"]]
    _print_table(("Integration", "Kind", "Name", "Runs", "Models"), rows)
    changes = [f"{count} {what}" for what, count in answer["schedules"].items() if count]
    if changes:
        say(f"Schedules: {', '.join(changes)}.")
    for text in answer["warnings"]:
        warning(text)


def plain_deployment(answer: JsonObject) -> tuple[str, tuple[str, ...]]:
    """Return what a deploy did as one line, and the warnings."""
    bundle = str(answer["bundle"])[:12]
    if not answer["changed"]:
        return f"nothing changed since bundle {bundle}", tuple(answer["warnings"])
    parts = [
        f"{integration['key']} ({_number(len(integration['syncs']), 'sync')}, "
        f"{_number(len(integration['actions']), 'action')})"
        for integration in answer["integrations"]
    ]
    return f"deployed bundle {bundle}: {', '.join(parts)}", tuple(answer["warnings"])


def problem(text: str, severity: Literal["error", "warning"]) -> None:
    """Print a problem of a file; its first line says what it is."""
    first, newline, rest = text.partition("\n")
    _err().print(Text(first, "red" if severity == "error" else "yellow") + Text(newline + rest))


def integrations(answer: JsonObject) -> None:
    """Print integrations."""
    _print_table(
        ("Integration", "Provider", "Name", "Created"),
        [
            (item["unique_key"], item["provider"], item["display_name"], _time(item["created_at"]))
            for item in answer["data"]
        ],
        empty="There are no integrations. `perdure integrations create` makes one.",
    )


def connections(answer: JsonObject) -> None:
    """Print connections."""
    _print_table(
        ("Connection", "Integration", "Provider", "Created", "Metadata"),
        [
            (
                item["connection_id"],
                item["provider_config_key"],
                item["provider"],
                _time(item["created"]),
                _value(item["metadata"]),
            )
            for item in answer["connections"]
        ],
        empty="There are no connections. `perdure connections create` makes one.",
    )


def connection(answer: JsonObject, *, shows_credentials: bool) -> None:
    """Print one connection, its credentials masked unless asked for."""
    credentials = answer.get("credentials") or {}
    _print_facts(
        {
            "Connection": answer["connection_id"],
            "Integration": answer["provider_config_key"],
            "Provider": answer["provider"],
            "Created": _time(answer.get("created_at")),
            "Configuration": _value(answer.get("connection_config")),
            "Metadata": _value(answer.get("metadata")),
            "Tags": _value(answer.get("tags")),
            "Credentials": ", ".join(
                f"{name} {value if shows_credentials or name == 'type' else '***'}"
                for name, value in credentials.items()
            ),
        }
    )


def sync_status(answer: JsonObject) -> None:
    """Print how syncs stand."""
    _print_table(
        ("Sync", "Connection", "Status", "Every", "Last run", "Next run", "Records", "Last result"),
        [
            (
                _sync_name(item),
                item["connection_id"],
                _styled(item["status"]),
                item["frequency"],
                _time(item.get("finishedAt")),
                _time(item.get("nextScheduledSyncAt")),
                ", ".join(f"{m} {n:,}" for m, n in (item.get("recordCount") or {}).items()),
                counts_text(item.get("latestResult")),
            )
            for item in answer["syncs"]
        ],
        empty="There are no syncs of this connection. `perdure deploy` deploys a project's syncs.",
    )


def records(answer: JsonObject) -> None:
    """Print a page of records, and how to get the next one."""
    found = answer["records"]
    names = [name for name in _scalar_names(found) if name != "id"][:_RECORD_COLUMNS]
    _print_table(
        ("id", *names, "Last action", "Last modified"),
        [
            (
                record["id"],
                *(_value(record.get(name)) for name in names),
                _styled(str(record["_nango_metadata"]["last_action"])),
                _time(record["_nango_metadata"]["last_modified_at"]),
            )
            for record in found
        ],
        empty="There are no such records.",
    )
    if answer["next_cursor"]:
        note(f"There are more: --cursor {answer['next_cursor']}")


def runs(answer: JsonObject) -> None:
    """Print runs, the newest first."""
    _print_table(
        ("Run", "Kind", "Script", "Connection", "Status", "Started", "Took", "Result"),
        [
            (
                item["id"],
                item["kind"],
                f"{item['integration']} / {item['script']}",
                item["connection_id"],
                _styled("waiting" if item.get("waiting") else item["status"]),
                _time(item["started_at"]),
                _duration(item["duration_s"]),
                _result(item),
            )
            for item in answer["runs"]
        ],
        empty="There are no such runs.",
    )
    if answer["next_cursor"]:
        note(f"There are more: --cursor {answer['next_cursor']}")


def run(answer: JsonObject) -> None:
    """Print one run with its error and its log."""
    waiting = answer.get("waiting")
    _print_facts(
        {
            "Run": answer["id"],
            "What": f"{answer['kind']} {answer['integration']} / {answer['script']}",
            "Connection": answer["connection_id"],
            "Status": _styled(answer["status"]),
            "Waiting": _waiting(waiting) if waiting else None,
            "Started": _time(answer["started_at"]),
            "Took": _duration(answer["duration_s"]),
            "Result": counts_text(answer.get("counts")),
            "Bundle": str(answer["bundle"])[:12] if answer["bundle"] else None,
            "Temporal UI": answer.get("temporal_url"),
        }
    )
    error = answer.get("error")
    if error:
        place = f"{error['file']}:{error.get('line')}: " if error.get("file") else ""
        _out().print(Text("\nError  ", style="red") + _lines(f"{place}{error['message']}"))
        if error.get("traceback"):
            _out().print(_lines(str(error["traceback"]).rstrip()))
    if answer["logs"]:
        _out().print(Text("\nLog", style="bold"))
        for line in answer["logs"]:
            style = {"error": "red", "warn": "yellow"}.get(line["level"], "")
            stamp = Text(f"  {_time(line['at'])}  {line['level']:<5} ", style="dim")
            _out().print(stamp + _lines(line["message"], style))


def counts_text(counts: Mapping[str, Mapping[str, int]] | None) -> str:
    """Return counts of records by model in words: `Issue 3 added, 97 unchanged`."""
    texts = []
    for model, numbers in (counts or {}).items():
        said = ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)
        texts.append(f"{model} {said or 'nothing'}")
    return "; ".join(texts)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _result(item: JsonObject) -> str:
    if item.get("waiting"):
        return _waiting(item["waiting"])
    if item.get("error"):
        return str(item["error"]["message"]).partition("\n")[0]
    return counts_text(item.get("counts"))


def _waiting(waiting: JsonObject) -> str:
    again = _time(waiting.get("next_attempt_at"))
    return (
        f"{waiting['reason']} (attempt {waiting['attempt']}{f', again {again}' if again else ''})"
    )


def _sync_name(item: JsonObject) -> str:
    variant = item.get("variant", "base")
    return str(item["name"]) if variant == "base" else f"{item['name']}::{variant}"


def _scalar_names(found: Iterable[JsonObject]) -> list[str]:
    names: dict[str, None] = {}
    for record in found:
        for name, value in record.items():
            if isinstance(value, str | int | float):
                names[name] = None
    return list(names)


def _print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str | None = None
) -> None:
    if not rows:
        if empty:
            note(empty)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _out().print(table)


def _print_facts(facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        if value not in (None, "", "{}"):
            shown = value if isinstance(value, Text) else _text(str(value))
            _out().print(Text(f"{name:<14}", style="dim") + shown)


def _cell(value: object) -> RenderableType:
    return value if isinstance(value, Text) else _text("" if value is None else str(value))


def _styled(word: str) -> Text:
    return Text(word.lower(), style=_STYLES.get(word.lower(), ""))


def _text(text: str, style: str = "") -> Text:
    return Text("".join(char if char.isprintable() else " " for char in text), style=style)


def _lines(text: str, style: str = "") -> Text:
    return Text("\n").join(_text(line, style) for line in text.split("\n"))


def _value(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"


def _time(text: str | None) -> str:
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _out() -> Console:
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def _err() -> Console:
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)
