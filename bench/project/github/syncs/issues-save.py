"""Issues, saved past the script."""

from perdure import NangoSync

from shared.github_objects import to_issue
from shared.paging import CURSOR, wanted


async def fetch_data(nango: NangoSync) -> None:
    params = wanted(await nango.get_metadata())
    await nango.paginate("/issues", params=params, paginate=CURSOR).save(
        "GithubIssue", map=to_issue
    )
