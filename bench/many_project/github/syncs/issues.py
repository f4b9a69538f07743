"""One page of issues: the least that an hourly sync does."""

from typing import Any

from perdure import NangoSync

PAGES = {
    "type": "cursor",
    "cursor_name_in_request": "cursor",
    "cursor_path_in_response": "next",
    "response_path": "items",
}


async def fetch_data(nango: NangoSync) -> None:
    pages = nango.paginate("/issues", params={"limit": 100, "total": 100}, paginate=PAGES)
    await pages.save("Issue", map=to_issue)


def to_issue(raw: dict[str, Any]) -> dict[str, Any]:
    names = ("title", "state", "updated_at")
    return {"id": str(raw["id"]), **{name: raw[name] for name in names}}
