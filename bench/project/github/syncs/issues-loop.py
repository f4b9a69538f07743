"""Issues, saved by the script page by page."""

from perdure import NangoSync

from shared.github_objects import to_issue
from shared.paging import CURSOR, wanted


async def fetch_data(nango: NangoSync) -> None:
    params = wanted(await nango.get_metadata())
    async for page in nango.paginate("/issues", params=params, paginate=CURSOR):
        await nango.batch_save([to_issue(raw) for raw in page], "LoopedIssue")
