"""Public repositories of a GitHub user or organisation."""

from perdure import NangoSync

from models import RepositoryName
from shared.github_objects import to_repository


async def fetch_data(nango: NangoSync) -> None:
    where = RepositoryName.model_validate(await nango.get_metadata())
    pages = nango.paginate(f"/users/{where.owner}/repos")
    await pages.save("GithubRepository", map=to_repository)
