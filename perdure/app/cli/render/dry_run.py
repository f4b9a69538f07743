"""Dry runs as people read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rich.text import Text

from perdure.app.cli.render.answers import duration, failure_of_run
from perdure.app.cli.render.terminal import note, plain_lines, print_json, print_table, say, show

__all__ = ["dry_run", "dry_run_started", "log_lines"]

JsonObject: TypeAlias = Mapping[str, Any]

_SIGNS = {"added": ("+", "green"), "updated": ("~", "cyan"), "deleted": ("-", "red")}
_LINE = 160
_FATES = ("added", "updated", "deleted", "unchanged")


def dry_run_started(started: JsonObject, connection: str) -> None:
    """Say what is run, apart from the results."""
    for text in started["warnings"]:
        note(f"warning: {text}")
    note(f"Dry run of {started['path']} for {connection}: run {started['run_id']}")


def log_lines(lines: Sequence[JsonObject]) -> None:
    """Print lines of the log as they come, apart from the results."""
    for line in lines:
        note(f"  {line['level']:<5} {line['message']}")


def dry_run(view: JsonObject, fixture: Path | None) -> None:
    """Print what a dry run came to."""
    run = view["run"]
    _ended(run)
    failure_of_run(run)
    records = view["records"] or {}
    if records:
        print_table(
            ("Model", *(fate.capitalize() for fate in _FATES)),
            [
                (model, *(f"{entry['counts'][fate]:,}" for fate in _FATES))
                for model, entry in records.items()
            ],
            empty="",
        )
    for model, entry in records.items():
        for row in entry["rows"]:
            show(_row(model, row))
        more = sum(entry["counts"][fate] for fate in _SIGNS) - len(entry["rows"])
        if more > 0:
            say(f"  ... and {more:,} more {model}")
    if run["kind"] == "sync" and not records and run["status"] == "success":
        say("No records would change.")
    for what in ("checkpoint", "metadata"):
        if view[what] is not None:
            say(f"{what.capitalize()}: {_json(view[what])}")
    if run["kind"] == "action" and run["status"] == "success":
        print_json(view["output"])
    if fixture is not None:
        say(f"Wrote {fixture}")
    elif view["fixture_refused"]:
        note(f"error: {view['fixture_refused']}")
        note("hint: try it with a connection or with metadata that lead to less")


def _ended(run: JsonObject) -> None:
    took, written = duration(run["duration_s"]), "Nothing was written."
    if run["kind"] != "sync":
        written = "Nothing was written here; what it asked the API for was asked."
    if run["status"] == "success":
        say(f"Succeeded in {took}. {written}")
    else:
        say(f"Ended after {took}: {run['status']}. {written}")


def _row(model: str, row: JsonObject) -> Text:
    sign, colour = _SIGNS[row["fate"]]
    before, after = row["before"], row["after"]
    if row["fate"] == "updated" and before and after:
        shown = ", ".join(_changes(before, after))
    elif row["fate"] == "added":
        shown = _json(after)
    else:
        shown = ""
    text = f"{model} {row['id']}  {shown}".rstrip()
    return Text(f"  {sign} ", style=colour) + plain_lines(_cut(text))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {_cut(_json(before.get(name)), 60)} -> {_cut(_json(after.get(name)), 60)}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, length: int = _LINE) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
