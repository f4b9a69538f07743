"""How an environment stands as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from api.schemas.base import Answer

__all__ = ["FailedSyncView", "HourView", "OverviewView", "UpcomingRun"]


class FailedSyncView(Answer):
    """A sync whose last run failed.

    Attributes:
        run_id: That run.
        error: Why it failed, as in `GET /runs/{run_id}`.
    """

    id: UUID
    integration: str
    connection_id: str
    name: str
    variant: str
    run_id: str
    failed_at: datetime
    error: dict[str, Any] | None


class HourView(Answer):
    """What happened in an hour: runs that started in it, and what they did to records."""

    at: datetime
    runs: int
    failed: int
    added: int
    updated: int
    deleted: int


class UpcomingRun(Answer):
    """A run of a sync that is scheduled."""

    integration: str
    connection_id: str
    name: str
    variant: str
    at: datetime


class OverviewView(Answer):
    """How an environment stands.

    Attributes:
        environment: Its name.
        syncs: How many syncs there are, by the status of their last run; `never` without one.
        failures: Syncs whose last run failed, those that failed last first, 20 at most.
        hours: The last 24 hours, the present one last.
        upcoming: What runs next, ten runs at most; null where Temporal does not tell in time, or
            where there are more schedules than are looked at.
    """

    environment: str
    connections: int
    integrations: int
    records: int
    syncs: dict[str, int]
    failures: list[FailedSyncView]
    hours: list[HourView]
    upcoming: list[UpcomingRun] | None
