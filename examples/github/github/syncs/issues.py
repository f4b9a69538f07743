"""Issues of one GitHub repository."""

from typing import Any

from perdure import NangoSync

from models import GithubIssue, RepositoryName
from shared.github_objects import to_issue


async def fetch_data(nango: NangoSync) -> None:
    where = RepositoryName.model_validate(await nango.get_metadata())
    params = {"state": "all"}
    if nango.last_sync_date is not None:
        params["since"] = f"{nango.last_sync_date:%Y-%m-%dT%H:%M:%SZ}"
    # The newest first, GitHub's default: what is created while we read only repeats what we have
    # seen already, whereas in another order it would push issues past us.
    pages = nango.paginate(f"/repos/{where.owner}/{where.repo}/issues", params=params)
    await pages.save("GithubIssue", map=to_issue_unless_pull_request)


def to_issue_unless_pull_request(raw: dict[str, Any]) -> GithubIssue | None:
    # GitHub lists pull requests among the issues.
    return None if "pull_request" in raw else to_issue(raw)
