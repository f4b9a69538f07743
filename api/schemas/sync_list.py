"""Syncs of an environment with what their last run came to."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from api.schemas.base import Answer
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

    @classmethod
    def of(cls, sync: ListedSync) -> ListedSyncView:
        """Show a sync."""
        return cls.model_validate(sync, from_attributes=True)


class SyncList(Answer):
    """Syncs, by connection and name."""

    syncs: list[ListedSyncView]
    next_cursor: str | None
