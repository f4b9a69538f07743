"""Public repositories of a GitHub user or organisation."""

from perdure import NangoSync

from models import RepositoryName
from shared.github_objects import to_repository


async def fetch_data(nango: NangoSync) -> None:
    where = RepositoryName.model_validate(await nango.get_metadata())
    async for page in nango.paginate(f"/users/{where.owner}/repos"):
        await nango.batch_save([to_repository(raw) for raw in page], "GithubRepository")
