"""Environments, API keys and the audit, as people read them."""

from __future__ import annotations

from perdure.app.cli.render.answers import clock_time, moment
from perdure.app.cli.render.terminal import note, print_table, say
from perdure.nango import JsonObject

__all__ = [
    "api_keys",
    "audit_events",
    "encryption_keys",
    "environments",
    "key_rotation",
    "made_api_key",
    "made_environment",
]


def environments(answer: JsonObject) -> None:
    """Print environments."""
    print_table(
        ("Environment", "UUID", "Made"),
        [(item["name"], item["uuid"], moment(item["created_at"])) for item in answer["data"]],
        whole=("Environment", "UUID"),
        empty="There are no environments.",
    )


def made_environment(answer: JsonObject) -> None:
    """Print the first key of a new environment, this once."""
    say(answer["key"]["api_key"])
    note(f"The key of {answer['name']}. It is not shown again; keep it now.")


def made_api_key(answer: JsonObject) -> None:
    """Print a new key, this once."""
    say(answer["api_key"])
    note(f"The API key {answer['name']}. It is not shown again; keep it now.")


def api_keys(answer: JsonObject) -> None:
    """Print API keys, the newest first."""
    print_table(
        ("Key", "Ends in", "Scopes", "Made", "Last used", "Until", "Id"),
        [
            (
                item["name"],
                item["ending"],
                " ".join(item["scopes"]),
                moment(item["created_at"]),
                moment(item["last_used_at"]) if item["last_used_at"] else "never",
                _until(item),
                item["id"],
            )
            for item in answer["data"]
        ],
        whole=("Key", "Ends in", "Id"),
        empty="There are no API keys. `perdure api-keys create` makes one.",
    )


def audit_events(answer: JsonObject) -> None:
    """Print administrative acts, the newest first."""
    print_table(
        ("When", "Environment", "Key", "Act", "To", "Outcome"),
        [
            (
                clock_time(item["at"]),
                item["environment"],
                item["key_name"],
                item["act"],
                item["subject"],
                _outcome(item),
            )
            for item in answer["data"]
        ],
        whole=("When", "Act"),
        empty="Nothing was done yet.",
    )
    if answer["next_cursor"]:
        note(f"There are more: --cursor {answer['next_cursor']}")


def encryption_keys(answer: JsonObject) -> None:
    """Print what is encrypted with which key, how far a rotation is, and what can be retired."""
    print_table(
        ("Key", "Role", "Values", "Where"),
        [
            (
                item["id"] or "(none)",
                _role(item),
                f"{sum(item['values'].values()):,}",
                ", ".join(f"{where} {count:,}" for where, count in item["values"].items()),
            )
            for item in answer["keys"]
        ],
        whole=("Key", "Role", "Values"),
        empty="There are no keys.",
    )
    if answer["rotation"]:
        key_rotation(answer["rotation"])
    for sentence in _advice(answer):
        note(sentence)


def key_rotation(rotation: JsonObject) -> None:
    """Print how far a rotation is."""
    done = f"{rotation['rewritten']:,} values encrypted anew with {rotation['key_id']}"
    if rotation["finished_at"]:
        say(f"Rotated {clock_time(rotation['finished_at'])}: {done}.")
    elif rotation["interrupted"]:
        say(f"Ended by force: {done}. `perdure keys rotate` does the rest.")
    else:
        say(f"Rotating: {done}; at {rotation['doing'] or 'the beginning'}.")


def _role(item: JsonObject) -> str:
    if item["encrypts"]:
        return "encrypts"
    if not item["in_ring"]:
        return "missing: unreadable"
    return "can be retired" if item["can_be_retired"] else "decrypts"


def _advice(answer: JsonObject) -> list[str]:
    first = answer["keys"][0]["id"]
    old = [item for item in answer["keys"] if item["in_ring"] and not item["encrypts"]]
    rotation, histories = answer["rotation"], answer["histories"]
    if not old or (rotation and not rotation["finished_at"]):
        return []
    left = [item["id"] for item in old if item["values"]]
    if left and rotation and rotation["key_id"] == first:
        return [
            f"{', '.join(left)} encrypted values after the last rotation: a process still has an "
            "old ring. Restart it with the present one, then `perdure keys rotate`."
        ]
    if left or not rotation or rotation["key_id"] != first:
        return [f"`perdure keys rotate` encrypts everything with {first}."]
    if histories is None:
        return ["Temporal does not answer: whether its histories need older keys is not known."]
    if histories["older"]:
        until = f"by {clock_time(histories['gone_at'])}" if histories["gone_at"] else "later"
        return [
            f"Keep the older keys: {histories['older']:,} histories at Temporal began before the "
            f"rotation, {histories['running']:,} of them under way. Temporal removes a history "
            f"{histories['retention_days']:g} days after its end, the last of these {until}."
        ]
    return ["Take the retired keys out of PERDURE_ENCRYPTION_KEYS and restart every process."]


def _until(item: JsonObject) -> str:
    if item["revoked_at"]:
        return f"revoked {moment(item['revoked_at'])}"
    return clock_time(item["expires_at"]) or "it is revoked"


def _outcome(item: JsonObject) -> str:
    if item["status"] is None:
        return "unknown"
    return item["error"] or "done"
