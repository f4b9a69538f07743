"""Looks a GitHub repository up."""

from typing import Any

from perdure import NangoAction

from models import GithubRepository, RepositoryName
from shared.github_objects import to_repository


async def run_action(nango: NangoAction, input: dict[str, Any]) -> GithubRepository:
    wanted = RepositoryName.model_validate(input)
    answer = await nango.get(f"/repos/{wanted.owner}/{wanted.repo}")
    return to_repository(answer.data)
