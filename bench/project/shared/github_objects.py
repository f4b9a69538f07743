"""From the API's issues to the records that are saved; the bare loop uses the same function."""

from typing import Any


def to_issue(raw: dict[str, Any]) -> dict[str, Any]:
    return {**raw, "id": str(raw["id"])}
