"""Issues of one GitHub repository."""

from perdure import NangoSync

from models import RepositoryName
from shared.github_objects import to_issue


async def fetch_data(nango: NangoSync) -> None:
    where = RepositoryName.model_validate(await nango.get_metadata())
    params = {"state": "all"}
    if nango.last_sync_date is not None:
        params["since"] = f"{nango.last_sync_date:%Y-%m-%dT%H:%M:%SZ}"
    # The newest first, GitHub's default: what is created while we read only repeats what we have
    # seen already, whereas in another order it would push issues past us.
    async for page in nango.paginate(f"/repos/{where.owner}/{where.repo}/issues", params=params):
        # GitHub lists pull requests among the issues.
        issues = [to_issue(raw) for raw in page if "pull_request" not in raw]
        await nango.batch_save(issues, "GithubIssue")
