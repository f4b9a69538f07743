"""Plans and deployments, as people read them: `+` is new, `~` changes, `-` goes away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from perdure.app.cli.render.answers import clock_time, moment
from perdure.app.cli.render.terminal import (
    plain_lines,
    print_facts,
    print_table,
    problem,
    say,
    show,
)
from perdure.nango import JsonObject

__all__ = ["deployed", "deployment", "deployments", "plain_deployment", "plan", "warnings"]

_MARKS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}
_VERBS = {"added": "add", "changed": "change", "removed": "remove"}
_NOTHING = "nothing"


def plan(answer: JsonObject) -> None:
    """Print what a deploy changes, and a line that sums it up."""
    if not answer["entries"]:
        say("Nothing to change: what is deployed is what the project says.")
        return
    group: object = ""
    for entry in answer["entries"]:
        heading = entry["integration"] or "models"
        if heading != group:
            show(plain_lines(heading, "bold"))
            group = heading
        show(_headline(entry))
        for difference in entry["differences"]:
            show(Text("      ") + _difference(difference))
    counts = [f"{answer[change]} to {verb}" for change, verb in _VERBS.items()]
    summary = Text(f"Plan: {', '.join(counts)}.", style="bold")
    if answer["destructive"]:
        summary += Text(" What is marked ! cannot be taken back.", style="red")
    show(summary)
    if answer["touches_others"]:
        others = plain_lines(", ".join(answer["touches_others"]), "yellow")
        show(Text("Outside of what is deployed, by what they share with it, change: ") + others)


def deployed(answer: JsonObject, seconds: float) -> None:
    """Print what became of a deploy."""
    bundle = str(answer["bundle"])[:12]
    if answer["deployment_id"] is None:
        say(f"Bundle {bundle} is stored; no worker has taken up its deploy yet.")
    elif answer["changed"]:
        say(f"Deployed bundle {bundle} in {seconds:.1f} s (deployment {answer['deployment_id']}).")
    else:
        say(f"Bundle {bundle} is deployed already.")
    changes = [f"{count:,} {what}" for what, count in answer["schedules"].items() if count]
    if changes:
        say(f"Schedules: {', '.join(changes)}.")
    if answer["records_erased"]:
        say(f"Records erased: {answer['records_erased']:,}.")
    warnings(answer)


def warnings(answer: JsonObject) -> None:
    """Print what was noticed on the way."""
    for text in answer["warnings"]:
        problem(text, "warning")


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
    line = f"deployed bundle {bundle}: {', '.join(parts) or _NOTHING}"
    gone = list(_gone(answer["plan"]["entries"]))
    if gone:
        erased = answer["records_erased"]
        line += f"; removed {', '.join(gone)}" + (f" with {erased:,} records" if erased else "")
    return line, tuple(answer["warnings"])


def deployments(answer: JsonObject) -> None:
    """Print deployments, the newest first."""
    print_table(
        ("Deployment", "Bundle", "Created", ""),
        [
            (
                item["id"],
                item["bundle"][:12],
                moment(item["created_at"]),
                "" if place else _standing(item),
            )
            for place, item in enumerate(answer["deployments"])
        ],
        whole=("Deployment", "Bundle", "Created"),
        empty="Nothing is deployed yet. `perdure deploy` deploys a project.",
    )


def deployment(answer: JsonObject) -> None:
    """Print one deployment with what it deployed."""
    print_facts(
        {
            "Deployment": f"{answer['id']}{f' ({_standing(answer)})' if answer['active'] else ''}",
            "Bundle": answer["bundle"],
            "Created": clock_time(answer["created_at"]),
            "Files": len(answer["files"]),
        }
    )
    rows: list[tuple[object, ...]] = []
    for integration in answer["integrations"]:
        key = integration["key"]
        rows += [
            (key, "sync", sync["name"], sync["runs"], ", ".join(sync["models"]))
            for sync in integration["syncs"]
        ]
        rows += [(key, "action", action["name"], "", "") for action in integration["actions"]]
    print_table(("Integration", "Kind", "Name", "Runs", "Models"), rows)


def _standing(active: JsonObject) -> str:
    return "active" if active["reconciled_at"] else "active, not yet for all connections"


def _headline(entry: Mapping[str, Any]) -> Text:
    mark, style = _MARKS[entry["change"]]
    line = Text(f"  {mark} ", style) + plain_lines(f"{entry['kind']} {entry['name']}", style)
    touched = [_number(entry["connections"], "connection")] if entry["connections"] else []
    if entry["records"] is None:
        touched.append("an unknown number of records")
    elif entry["records"]:
        touched.append(_number(entry["records"], "record"))
    if touched:
        line += Text(f"  ({', '.join(touched)})", style="dim")
    if entry["destructive"]:
        line += Text("  !", style="bold red")
    return line


def _difference(difference: Mapping[str, Any]) -> Text:
    what, name = difference["what"], difference["name"]
    old, new = difference["old"], difference["new"]
    if what == "script":
        verb = "is new" if old is None else "is gone" if new is None else "differs"
        return plain_lines(f"script: {name} {verb}")
    if what == "model":
        return plain_lines(f"model: {name} differs")
    if what == "records":
        fate = "are erased" if new is None else f"stay, now saved by {new}"
        return plain_lines(f"records of {name} {fate}")
    label = name if what in {"setting", "field"} else what
    if what in {"schedule", "output"} and old is None:
        return plain_lines(f"{label}: {new}")
    return plain_lines(f"{label}: {_shown(old)} -> {_shown(new)}")


def _shown(value: str | None) -> str:
    return "(none)" if value is None else value


def _gone(entries: list[JsonObject]) -> Iterator[str]:
    for entry in entries:
        where = f"{entry['integration']}/" if entry["integration"] else ""
        if entry["change"] == "removed":
            yield f"{entry['kind']} {where}{entry['name']}"
        elif entry["destructive"]:
            fates = [item for item in entry["differences"] if item["what"] == "records"]
            lost = [item["name"] for item in fates if item["new"] is None]
            yield from (f"output {model} of {where}{entry['name']}" for model in lost)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
