"""Issues of the repositories that a customer picked."""

from typing import Any

from perdure import NangoSync

from models import Issue, Picked


async def fetch_data(nango: NangoSync) -> None:
    picked = Picked.model_validate(await nango.get_metadata())
    for repository in picked.repositories:
        params = {"state": "all"}
        if nango.last_sync_date is not None:
            params["since"] = nango.last_sync_date.isoformat()
        pages = nango.paginate(f"/repos/{repository}/issues", params=params)
        async for page in pages:
            issues = [raw for raw in page if "pull_request" not in raw]
            await nango.batch_save([to_issue(repository, raw) for raw in issues], "Issue")
        await nango.log(f"{repository} is done")


async def on_webhook_payload_received(nango: NangoSync, payload: dict[str, Any]) -> None:
    issue = to_issue(payload["repository"]["full_name"], payload["issue"])
    if payload["action"] == "deleted":
        await nango.batch_delete([issue], "Issue")
    else:
        await nango.batch_save([issue], "Issue")


def to_issue(repository: str, raw: dict[str, Any]) -> Issue:
    return Issue(
        id=str(raw["id"]),
        repository=repository,
        number=raw["number"],
        title=raw["title"],
        state=raw["state"],
        author=raw["user"]["login"] if raw["user"] else None,
        labels=[label["name"] for label in raw["labels"]],
        updated_at=raw["updated_at"],
    )
