"""Syncs of an environment with what their last run came to."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from api.run_views import RunView
from api.schemas.base import Answer
from api.schemas.runs import WaitingView
from perdure.db.sync_list import ListedSync

__all__ = ["ListedSyncView", "SyncList"]


class ListedSyncView(Answer):
    """A sync with its last run.

    Attributes:
        frequency: Interval that overrides the deployed one, null where none does.
        last_sync_date: Start of the last run that succeeded.
        status: Status of its last run, `never` where there is none.
        run_id: The last run.
        counts: What it did to records, by model.
        waiting: Why it makes no progress at present, null where it does, and where Temporal was not
            asked: it is for the first fifty of a page that are under way.
    """

    id: UUID
    integration: str
    connection_id: str
    name: str
    variant: str
    frequency: str | None
    last_sync_date: datetime | None
    status: str
    run_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    counts: dict[str, Any] | None
    waiting: WaitingView | None = None

    @classmethod
    def of(cls, sync: ListedSync, last: RunView | None) -> ListedSyncView:
        """Show a sync.

        Args:
            sync: The sync.
            last: Its last run as it stands, None where the row is all there is.
        """
        shown = cls.model_validate(sync, from_attributes=True)
        if last is None:
            return shown
        run = last.run
        return shown.model_copy(
            update={
                "status": run.status.value,
                "finished_at": run.finished_at,
                "counts": run.counts,
                "waiting": WaitingView.of(last.waiting),
            }
        )


class SyncList(Answer):
    """Syncs, by connection and name."""

    syncs: list[ListedSyncView]
    next_cursor: str | None
