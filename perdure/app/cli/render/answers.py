"""What the server answered, as people read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from perdure.app.cli.render.terminal import (
    note,
    plain_lines,
    print_facts,
    print_table,
    say,
    show,
    styled,
)
from perdure.clock import utcnow
from perdure.nango import JsonObject

__all__ = [
    "actions",
    "clock_time",
    "connection",
    "connections",
    "duration",
    "environment",
    "integration",
    "integrations",
    "moment",
    "records",
    "retried",
    "run",
    "runs",
    "sync_status",
    "variables",
]

_LONGEST_CELL = 48
_RECORD_COLUMNS = 4


def environment(answer: JsonObject) -> None:
    """Print an environment."""
    print_facts(
        {
            "Environment": answer["name"],
            "Bundle": str(answer["active_bundle"] or "")[:12] or "nothing deployed yet",
            "Validation": answer["validation"],
            "Actions": f"{answer['action_limit']} at the same time, "
            f"{answer['connection_action_limit']} for one connection",
        }
    )


def variables(answer: Iterable[JsonObject], *, shows_values: bool) -> None:
    """Print variables of an environment, their values masked unless asked for."""
    print_table(
        ("Variable", "Value"),
        [(item["name"], _value(item["value"]) if shows_values else "***") for item in answer],
        whole=("Variable",),
        empty="There are no variables. `perdure env set` makes one.",
    )


def integrations(answer: JsonObject) -> None:
    """Print integrations."""
    print_table(
        ("Integration", "Provider", "Name", "Created"),
        [
            (
                item["unique_key"],
                item["provider"],
                item["display_name"],
                moment(item["created_at"]),
            )
            for item in answer["data"]
        ],
        whole=("Integration", "Created"),
        empty="There are no integrations. `perdure integrations create` makes one.",
    )


def integration(answer: JsonObject, *, shows_credentials: bool) -> None:
    """Print one integration, its credentials masked unless asked for."""
    found = answer["data"]
    credentials = found.get("credentials") or {}
    print_facts(
        {
            "Integration": found["unique_key"],
            "Provider": found["provider"],
            "Name": found["display_name"],
            "Created": clock_time(found["created_at"]),
            "Webhooks": found.get("webhook_url") or "set PERDURE_SERVER_URL to know the address",
            "Handed on": "yes" if found["forward_webhooks"] else "no",
            "Own rules": _value(found.get("webhook_rules")),
            "Credentials": ", ".join(
                f"{name} {value if shows_credentials else '***'}"
                for name, value in credentials.items()
            ),
        }
    )


def connections(answer: JsonObject) -> None:
    """Print connections."""
    print_table(
        ("Connection", "Integration", "Provider", "Created", "Faults", "Metadata"),
        [
            (
                item["connection_id"],
                item["provider_config_key"],
                item["provider"],
                moment(item["created"]),
                ", ".join(sorted({fault["type"] for fault in item.get("errors") or ()})),
                _value(item["metadata"]),
            )
            for item in answer["connections"]
        ],
        whole=("Connection", "Created"),
        empty="There are no connections. `perdure connections create` makes one.",
    )


def connection(answer: JsonObject, *, shows_credentials: bool) -> None:
    """Print one connection, its credentials masked unless asked for."""
    credentials = answer.get("credentials") or {}
    print_facts(
        {
            "Connection": answer["connection_id"],
            "Integration": answer["provider_config_key"],
            "Provider": answer["provider"],
            "Created": clock_time(answer.get("created_at")),
            "Configuration": _value(answer.get("connection_config")),
            "Metadata": _value(answer.get("metadata")),
            "Tags": _value(answer.get("tags")),
            "Belongs to": _value(answer.get("end_user")),
            "Faults": ", ".join(
                f"{fault['type']} ({fault['log_id']})" for fault in answer.get("errors") or ()
            ),
            "Credentials": ", ".join(
                f"{name} {value if shows_credentials or name == 'type' else '***'}"
                for name, value in credentials.items()
            ),
        }
    )


def actions(answer: JsonObject) -> None:
    """Print a page of runs of actions."""
    print_table(
        ("Action", "For", "Status", "Started", "Took", "Id"),
        [
            (
                f"{_mark(item)}{item['integration']} / {item['script']}",
                item["connection_id"],
                styled(item["status"]),
                moment(item["started_at"]),
                duration(item["duration_s"]),
                item["action_id"] or "",
            )
            for item in answer["runs"]
        ],
        whole=("Id",),
        empty="No action was called.",
    )
    if answer.get("next_cursor"):
        note(f"There are more: --cursor {answer['next_cursor']}")


def sync_status(answer: JsonObject) -> None:
    """Print how syncs stand."""
    print_table(
        ("Sync", "Connection", "Status", "Every", "Last run", "Next run", "Records", "Last result"),
        [
            (
                _sync_name(item),
                item["connection_id"],
                styled(item["status"]),
                item["frequency"],
                moment(item.get("finishedAt")),
                moment(item.get("nextScheduledSyncAt")),
                ", ".join(f"{m} {n:,}" for m, n in (item.get("recordCount") or {}).items()),
                _last_result(item),
            )
            for item in answer["syncs"]
        ],
        whole=("Status", "Last run", "Next run"),
        empty="There are no syncs of this connection. `perdure deploy` deploys a project's syncs.",
    )
    for item in answer["syncs"]:
        about = [_progress(item.get("progress"))]
        if item.get("waiting"):
            about.append(f"waits: {_waiting(item['waiting'])}")
        if any(about):
            note(f"{_sync_name(item)} of {item['connection_id']}: {'; '.join(filter(None, about))}")
        if item.get("heldDeletes"):
            note(
                f"{_sync_name(item)} of {item['connection_id']}: "
                f"{_held(item['heldDeletes'])}; see `perdure syncs confirm-deletes --help`"
            )


def _held(deletes: Iterable[JsonObject]) -> str:
    return ", ".join(
        f"{item['absent']:,} of {item['live']:,} {item['model']} wait to be confirmed"
        for item in deletes
    )


def records(answer: JsonObject) -> None:
    """Print a page of records, and how to get the next one."""
    found = answer["records"]
    names = [name for name in _scalar_names(found) if name != "id"][:_RECORD_COLUMNS]
    print_table(
        ("id", *names, "Change", "When"),
        [
            (
                record["id"],
                *(_value(record.get(name)) for name in names),
                styled(str(record["_nango_metadata"]["last_action"])),
                moment(record["_nango_metadata"]["last_modified_at"]),
            )
            for record in found
        ],
        whole=("id", "Change", "When"),
        empty="There are no such records.",
    )
    if answer["next_cursor"]:
        note(f"There are more: --cursor {answer['next_cursor']}")


def runs(answer: JsonObject) -> None:
    """Print runs, the newest first."""
    print_table(
        ("Run", "What", "Connection", "Status", "Started", "Took", "Result"),
        [
            (
                item["id"],
                _what(item),
                item["connection_id"],
                styled("waiting" if item.get("waiting") else item["status"]),
                moment(item["started_at"]),
                duration(item["duration_s"]),
                _result(item),
            )
            for item in answer["runs"]
        ],
        whole=("Run", "Status", "Started", "Took"),
        empty="There are no such runs.",
    )
    if answer["next_cursor"]:
        note(f"There are more: --cursor {answer['next_cursor']}")


def retried(answer: JsonObject) -> None:
    """Say that a run goes on."""
    say(f"{answer['kind']} {answer['integration']}/{answer['script']} goes on")
    note(f"follow it with `perdure runs show {answer['id']}`")


def run(answer: JsonObject) -> None:
    """Print one run with its error and its log."""
    waiting = answer.get("waiting")
    print_facts(
        {
            "Run": answer["id"],
            "What": _what(answer),
            "Connection": answer["connection_id"],
            "Status": styled(answer["status"]),
            "Waiting": _waiting(waiting) if waiting else None,
            "Started": clock_time(answer["started_at"]),
            "Took": duration(answer["duration_s"]),
            "Progress": _progress(answer.get("progress")),
            "Result": _counts(answer.get("counts")),
            "Checkpoint": _value((answer.get("checkpoints") or {}).get("to")),
            "History": _history(answer.get("history")),
            "Next run": clock_time(answer.get("next_run_at")),
            "Held deletes": _held(answer.get("held_deletes") or ()) or None,
            "Bundle": str(answer["bundle"])[:12] if answer["bundle"] else None,
            "Temporal UI": answer.get("temporal_url"),
        }
    )
    failure_of_run(answer)
    if answer["logs"]:
        show(Text("\nLog", style="bold"))
        for line in answer["logs"]:
            style = {"error": "red", "warn": "yellow"}.get(line["level"], "")
            stamp = Text(f"  {clock_time(line['at'])}  {line['level']:<5} ", style="dim")
            show(stamp + plain_lines(line["message"], style))


def _what(run: JsonObject) -> str:
    return f"{_mark(run)}{run['kind']} {run['integration']}/{run['script']}"


def _mark(run: JsonObject) -> str:
    return "dry run: " if run.get("dry_run") else ""


def failure_of_run(answer: JsonObject) -> None:
    """Print why a run failed, if it did."""
    error = answer.get("error")
    if error:
        file, message = error.get("file"), str(error["message"])
        place = f"{file}:{error.get('line')}: " if file else ""
        message = message.removeprefix(place).removeprefix(f"{file}: ")
        show(Text("\nError  ", style="red") + plain_lines(f"{place}{message}"))
        # Without a line of the script it says nothing that the message does not.
        if 'File "' in str(error.get("traceback")):
            show(plain_lines(str(error["traceback"]).rstrip()))


def _counts(counts: Mapping[str, Mapping[str, int]] | None) -> str:
    """Return counts in words: `3 added, 97 unchanged`; of several models each by its name."""
    texts = {
        model: ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number)
        for model, numbers in (counts or {}).items()
    }
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{model}: {text or 'nothing'}" for model, text in texts.items())


def _last_result(item: JsonObject) -> str:
    counted = item.get("latestResult")
    # What was unchanged is not among these counts: without a word it looks as if nothing had run.
    unchanged = (
        counted
        and item["status"] == "SUCCESS"
        and not any(n for each in counted.values() for n in each.values())
    )
    return "nothing changed" if unchanged else _counts(counted)


def _result(item: JsonObject) -> str:
    if item.get("waiting"):
        return _waiting(item["waiting"])
    if item.get("error"):
        return str(item["error"]["message"]).partition("\n")[0]
    return _counts(item.get("counts"))


def _waiting(waiting: JsonObject) -> str:
    again = clock_time(waiting.get("next_attempt_at"))
    return (
        f"{waiting['reason']} (attempt {waiting['attempt']}{f', again {again}' if again else ''})"
    )


def _progress(progress: JsonObject | None) -> str:
    """Return how far a run is: `31 pages, next page c32; 12 of 300 items`."""
    if not progress:
        return ""
    facts = [f"{progress[name]:,} {name}" for name in ("pages", "requests") if progress[name]]
    if progress["cursor"]:
        facts.append(f"next page {_value(progress['cursor'])}")
    if progress["items"]:
        failed = f" ({progress['items_failed']:,} failed)" if progress["items_failed"] else ""
        facts.append(f"{progress['items_done']:,} of {progress['items']:,} items{failed}")
    return ", ".join(facts)


def _history(history: JsonObject | None) -> str:
    if not history:
        return ""
    return f"{history['events']:,} events, {history['bytes'] / 2**20:.1f} MB"


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


def _value(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"


def clock_time(text: str | None) -> str:
    """Return day and time of a moment in the local zone, nothing where there is none."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def moment(text: str | None) -> str:
    """Like `clock_time`, without the day where it is today."""
    return clock_time(text).removeprefix(f"{utcnow().astimezone():%Y-%m-%d} ")


def duration(seconds: float | None) -> str:
    """Return seconds in words."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
