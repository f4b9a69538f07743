"""Syncs.

Clients of Nango send more than we know. It is passed over, unless it asks for what we do not do.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.base import Answer
from api.schemas.held_deletes import HeldDeletes
from perdure.ids import BASE_VARIANT

__all__ = ["ChangeCounts", "SyncState", "SyncStatus", "SyncStatusList", "SyncTarget", "TriggerBody"]


class _Tolerant(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class NamedVariant(_Tolerant):
    """A sync in one of its variants."""

    name: str
    variant: str = BASE_VARIANT


class SyncTarget(_Tolerant):
    """Which syncs; what is not in the body may stand in the headers."""

    syncs: Annotated[list[str | NamedVariant], Field(max_length=256)] = Field(
        default_factory=list, description="`name` or `name::variant`; none, or `*`, for all."
    )
    provider_config_key: str | None = None
    connection_id: str | None = None


class TriggerOptions(_Tolerant):
    """Options of a trigger that are not available: only their absence is accepted."""

    reset: Literal[False] | None = None
    empty_cache: Literal[False] | None = Field(default=None, alias="emptyCache")


class TriggerBody(SyncTarget):
    """Which syncs to run now. Runs go on from where the last one ended."""

    opts: TriggerOptions | None = None
    sync_mode: Literal["incremental"] | None = None
    full_resync: Literal[False] | None = None


class SyncState(StrEnum):
    """How a sync, or its latest run, stands."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"


class ChangeCounts(Answer):
    """What a run did to the records of a model."""

    added: int
    updated: int
    deleted: int


class SyncStatus(Answer):
    """How a sync of a connection stands."""

    id: UUID
    type: Literal["INITIAL", "INCREMENTAL"]
    name: str
    variant: str
    connection_id: str
    status: SyncState
    finishedAt: datetime | None  # noqa: N815 - the name on the wire
    nextScheduledSyncAt: datetime | None  # noqa: N815 - the name on the wire
    frequency: str
    latestResult: dict[str, ChangeCounts]  # noqa: N815 - the name on the wire
    latestExecutionStatus: SyncState | None  # noqa: N815 - the name on the wire
    recordCount: dict[str, int]  # noqa: N815 - the name on the wire
    heldDeletes: list[HeldDeletes] = []  # noqa: N815 - as its neighbours
    checkpoint: None = None


class SyncStatusList(Answer):
    """How syncs stand."""

    syncs: list[SyncStatus]
