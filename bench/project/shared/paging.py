"""How the API's issues are paged, and which a connection reads."""

from typing import Any

CURSOR = {
    "type": "cursor",
    "cursor_name_in_request": "cursor",
    "cursor_path_in_response": "next",
    "response_path": "items",
}


def wanted(metadata: dict[str, Any]) -> dict[str, Any]:
    return {"limit": metadata["limit"], "total": metadata["total"]}
