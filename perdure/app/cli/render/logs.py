"""Lines of logs, as people read them."""

from __future__ import annotations

import json

from rich.text import Text

from perdure.app.cli.render.answers import clock_time
from perdure.app.cli.render.terminal import note, plain_lines, say, show
from perdure.nango import JsonObject

__all__ = ["found_logs", "log_line"]

_STYLES = {"warn": "yellow", "error": "red"}


def found_logs(answer: JsonObject) -> None:
    """Print lines of several runs, the newest last, each with where it comes from."""
    for line in reversed(answer["logs"]):
        place = "/".join(filter(None, (line["integration"], line["script"], line["connection_id"])))
        log_line(line, f"{place}  ")
    if not answer["logs"]:
        say("No line is like this.")
    if answer["next_cursor"]:
        note(f"There are older lines: --cursor {answer['next_cursor']}")


def log_line(line: JsonObject, place: str = "") -> None:
    """Print a line."""
    text = line["message"]
    if line["data"] is not None:
        text += f" {json.dumps(line['data'], ensure_ascii=False)}"
    stamp = Text(f"{clock_time(line['at'])}  {line['level']:<5} ", style="dim")
    show(stamp + Text(place, style="cyan") + plain_lines(text, _STYLES.get(line["level"], "")))
