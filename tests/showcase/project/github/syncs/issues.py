"""Issues of a GitHub account."""

from perdure import NangoSync

from models import Issue
from shared.pages import CURSOR


def to_issue(raw: dict) -> Issue:
    return Issue(
        id=str(raw["id"]),
        title=raw["title"],
        state=raw["state"],
        author=raw["user"]["login"],
        labels=raw["labels"],
        comments=raw["comments"],
    )


async def fetch_data(nango: NangoSync) -> None:
    seen = 0
    async for page in nango.paginate("/issues", paginate=CURSOR):
        await nango.batch_save([to_issue(raw) for raw in page], "Issue")
        seen += len(page)
        await nango.log(f"{seen} issues so far")


async def on_webhook_payload_received(nango: NangoSync, payload: dict) -> None:
    await nango.batch_save([to_issue(payload["issue"])], "Issue")
    await nango.log(f"Issue {payload['issue']['id']} came by a webhook")
