"""From GitHub's objects to our models."""

from typing import Any

from models import GithubIssue, GithubRepository


def to_issue(raw: dict[str, Any]) -> GithubIssue:
    author = raw["user"]
    return GithubIssue(
        id=str(raw["id"]),
        number=raw["number"],
        title=raw["title"],
        state=raw["state"],
        author=author["login"] if author else None,
        labels=[label["name"] for label in raw["labels"]],
        comments=raw["comments"],
        url=raw["html_url"],
        created_at=raw["created_at"],
        updated_at=raw["updated_at"],
        closed_at=raw["closed_at"],
    )


def to_repository(raw: dict[str, Any]) -> GithubRepository:
    return GithubRepository(
        id=str(raw["id"]),
        full_name=raw["full_name"],
        description=raw["description"],
        language=raw["language"],
        stars=raw["stargazers_count"],
        open_issues=raw["open_issues_count"],
        archived=raw["archived"],
        url=raw["html_url"],
        pushed_at=raw["pushed_at"],
    )
