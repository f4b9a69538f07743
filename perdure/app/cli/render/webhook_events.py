"""What providers have sent, as people read it."""

from __future__ import annotations

import json

from perdure.app.cli.render.answers import clock_time, moment
from perdure.app.cli.render.terminal import (
    note,
    plain_lines,
    print_facts,
    print_table,
    show,
    styled,
)
from perdure.nango import JsonObject

__all__ = ["webhook_event", "webhook_events"]


def webhook_events(answer: JsonObject) -> None:
    """Print events, the newest first."""
    print_table(
        ("Event", "When", "Integration", "Type", "Status", "Handled", "Failed", "Handed on"),
        [
            (
                item["id"],
                moment(item["received_at"]),
                item["integration"],
                next(iter(item["types"]), ""),
                styled(item["status"]),
                item["tasks"],
                item["failed"],
                item["forwarded"],
            )
            for item in answer["events"]
        ],
        whole=("Event", "When", "Status"),
        empty="There are no such webhooks. `perdure integrations show` says where they are sent.",
    )
    if answer["next_cursor"]:
        note(f"There are more: --cursor {answer['next_cursor']}")


def webhook_event(answer: JsonObject) -> None:
    """Print one event, what was done about it and what it says."""
    print_facts(
        {
            "Event": answer["id"],
            "Integration": answer["integration"],
            "Types": ", ".join(answer["types"]),
            "Delivery": answer["delivery_id"] or "",
            "Received": clock_time(answer["received_at"]),
            "Status": answer["status"],
            "Handed on": answer["forwarded"],
        }
    )
    print_table(
        ("Connection", "Sync", "Status", "Run", "Error"),
        [
            (
                task["connection_id"],
                task["sync"],
                styled(task["status"]),
                task["run_id"] or "",
                (task["error"] or {}).get("message", ""),
            )
            for task in answer["handling"]
        ],
        whole=("Status", "Run"),
        empty="Nobody handles it: no sync subscribes to it, or it concerns no connection.",
    )
    show(plain_lines(json.dumps(answer["payload"], indent=2, ensure_ascii=False)))
