"""Lines of the logs of runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.schemas.base import Answer
from perdure.db.log_search import FoundLine

__all__ = ["FoundLineView", "FoundLogs", "RunLog"]


class FoundLineView(Answer):
    """A line, and of which run it is.

    Attributes:
        id: Grows in the order of writing.
        data: Any JSON value that belongs to it.
    """

    id: int
    run_id: str
    at: datetime
    level: str
    message: str
    data: Any
    kind: str
    integration: str | None
    connection_id: str | None
    script: str
    variant: str

    @classmethod
    def of(cls, line: FoundLine) -> FoundLineView:
        """Show a line."""
        return cls.model_validate(line, from_attributes=True)


class FoundLogs(Answer):
    """What a search found.

    Attributes:
        logs: The newest first.
        next_cursor: Where the search goes on; null where there is nothing older. There may be one
            even where nothing was found: a search looks at so many lines at a time.
        back_to: The oldest moment that was looked at, null where there was nothing to look at.
    """

    logs: list[FoundLineView]
    next_cursor: str | None
    back_to: datetime | None


class RunLog(Answer):
    """Lines of a run, the oldest first.

    Attributes:
        cursor: Ask with it for what is written after these.
        ended: Whether the run has ended, so that nothing more comes once `logs` is empty.
    """

    logs: list[FoundLineView]
    cursor: str
    ended: bool
