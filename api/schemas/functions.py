"""Scripts of an integration."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from api.schemas.base import Answer

__all__ = ["FunctionAnswer", "FunctionCode", "FunctionList", "FunctionView", "Pagination"]


class FunctionView(Answer):
    """A script that is deployed; what its type does not have is left out.

    Attributes:
        returns: Names of the models of its records, or of its output.
        event: What a script of type `on-event` runs on.
        endpoints: Method and path of each.
        bundle: Hash of the bundle it was deployed with, which is its version.
        source: Scripts come by deploys, from a repository.
    """

    type: Literal["sync", "action", "on-event"]
    name: str
    description: str | None = None
    scopes: list[str] | None = None
    input: str | None = None
    returns: list[str] | None = None
    json_schema: dict[str, Any] | None = None
    runs: str | None = None
    auto_start: bool | None = None
    track_deletes: bool | None = None
    event: str | None = None
    endpoints: list[str] | None = None
    enabled: bool
    last_deployed: datetime | None = None
    bundle: str | None = None
    source: Literal["repo"] = "repo"


class Pagination(Answer):
    """Which part of a list this is."""

    total: int
    page: int
    limit: int


class FunctionList(Answer):
    """Scripts of an integration."""

    data: list[FunctionView]
    pagination: Pagination


class FunctionAnswer(Answer):
    """One script."""

    data: FunctionView


class FunctionCode(Answer):
    """The source of a script."""

    type: Literal["sync", "action", "on-event"]
    code: str
