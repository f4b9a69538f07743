"""Webhooks, as people read them."""

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

__all__ = ["deliveries", "delivery", "webhook_settings"]

_FLAGS = {
    "on_auth_creation": "new connections and credentials",
    "on_auth_refresh_error": "credentials that could not be renewed",
    "on_sync_completion_always": "syncs that changed nothing",
    "on_sync_error": "failed syncs",
    "on_async_action_completion": "ended actions nobody waited for",
}


def webhook_settings(answer: JsonObject) -> None:
    """Print what an environment wants to be told, and where."""
    told = [words for name, words in _FLAGS.items() if answer[name]]
    print_facts(
        {
            "Primary URL": answer["primary_url"] or "none",
            "Secondary URL": answer["secondary_url"] or "none",
            "Told": ", ".join(["syncs that changed records", *told]),
            "Not told": ", ".join(words for name, words in _FLAGS.items() if not answer[name]),
            "Signing key": clock_time(answer["signing_key_created_at"])
            or "none yet; `perdure webhooks rotate-key` makes one",
        }
    )


def deliveries(answer: JsonObject) -> None:
    """Print deliveries, the newest first."""
    print_table(
        ("Delivery", "When", "Type", "Subject", "Connection", "Status", "Attempts", "Last answer"),
        [
            (
                item["id"],
                moment(item["created_at"]),
                item["type"],
                item["subject"],
                item["connection_id"] or "",
                styled(item["status"]),
                item["attempts"],
                item["last_error"] or item["last_status"] or "",
            )
            for item in answer["deliveries"]
        ],
        whole=("Delivery", "When", "Status"),
        empty="There are no such webhooks. `perdure webhooks settings` says where they go.",
    )
    if answer["next_cursor"]:
        note(f"There are more: --cursor {answer['next_cursor']}")


def delivery(answer: JsonObject) -> None:
    """Print one delivery, its attempts and what it says."""
    print_facts(
        {
            "Delivery": answer["id"],
            "Tells": _told(answer),
            "Run": answer["run_id"] or "",
            "To": f"{answer['url']} ({answer['target']})",
            "Status": answer["status"],
            "Written": clock_time(answer["created_at"]),
            "Ended": clock_time(answer["finished_at"]),
            "Workflow": answer["workflow_id"],
        }
    )
    print_table(
        ("Attempt", "Answer", "Error"),
        [
            (clock_time(one["at"]), one["status"] or "", one["error"] or "")
            for one in answer["history"]
        ],
        whole=("Attempt",),
        empty="There was no attempt yet.",
    )
    show(plain_lines(json.dumps(answer["payload"], indent=2, ensure_ascii=False)))


def _told(answer: JsonObject) -> str:
    whom = f" for {answer['connection_id']}" if answer["connection_id"] else ""
    return f"{answer['type']}: {answer['subject']}{whom}"
