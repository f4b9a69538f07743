"""Open pull requests of a GitHub account."""

from perdure import NangoSync

from models import PullRequest
from shared.pages import CURSOR


async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate("/pulls", paginate=CURSOR):
        await nango.log(f"{len(page)} pull requests came")
        await nango.batch_save([to_pull_request(raw) for raw in page], "PullRequest")


def to_pull_request(raw: dict) -> PullRequest:
    # The first of those who were asked for a review stands for all of them.
    reviewer = raw["requested_reviewers"][0]["login"]
    return PullRequest(id=str(raw["id"]), title=raw["title"], reviewer=reviewer)
