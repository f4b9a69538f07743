"""Syncs.

Clients of Nango send more than we know. It is passed over, unless it asks for what we do not do.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.base import Answer
from api.schemas.held_deletes import HeldDeletes
from api.schemas.runs import ProgressView, WaitingView
from perdure.db.resyncs import Restart
from perdure.ids import BASE_VARIANT

__all__ = [
    "ChangeCounts",
    "Frequency",
    "FrequencyBody",
    "SyncState",
    "SyncStatus",
    "SyncStatusList",
    "SyncTarget",
    "SyncVariant",
    "TriggerBody",
    "VariantBody",
]

_SyncMode: TypeAlias = Literal["incremental", "full_refresh", "full_refresh_and_clear_cache"]


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
    """How syncs start.

    Attributes:
        reset: End the run under way and forget where the sync stands.
        empty_cache: Also replace all records by what the run saves, once it has succeeded.
    """

    reset: bool = False
    empty_cache: bool = Field(default=False, alias="emptyCache")


class TriggerBody(SyncTarget):
    """Which syncs to run now. Runs go on from where the last one ended unless told otherwise."""

    opts: TriggerOptions | None = None
    sync_mode: Annotated[_SyncMode | None, Field(json_schema_extra={"deprecated": True})] = None
    full_resync: Annotated[bool | None, Field(json_schema_extra={"deprecated": True})] = None

    @model_validator(mode="after")
    def _asked_for_in_one_way(self) -> TriggerBody:
        if self.opts is not None and (self.sync_mode is not None or self.full_resync is not None):
            msg = "give `opts` or the deprecated `sync_mode` and `full_resync`, not both"
            raise ValueError(msg)
        return self

    @property
    def restart(self) -> Restart | None:
        """How the syncs start over, None where they go on."""
        opts = self.opts or TriggerOptions()
        if opts.empty_cache or self.sync_mode == "full_refresh_and_clear_cache":
            return "empty_cache"
        if opts.reset or self.full_resync or self.sync_mode == "full_refresh":
            return "reset"
        return None


class FrequencyBody(_Tolerant):
    """How often a sync of a connection runs; null is as often as deployed."""

    sync_name: str
    sync_variant: str = BASE_VARIANT
    provider_config_key: str
    connection_id: str
    frequency: str | None


class Frequency(Answer):
    """How often a sync runs from now on."""

    frequency: str


class VariantBody(_Tolerant):
    """Whose variant."""

    provider_config_key: str
    connection_id: str


class SyncVariant(Answer):
    """A variant of a sync."""

    id: UUID
    name: str
    variant: str


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
    """How a sync of a connection stands.

    Attributes:
        checkpoint: Where its next run goes on from, None where it begins at the beginning.
        progress: How far its run is that is under way, where a worker tells.
        waiting: Why that run makes no progress at present, None where it does.
    """

    id: UUID
    type: Literal["INITIAL", "INCREMENTAL"]
    name: str
    variant: str
    connection_id: str
    status: SyncState
    finishedAt: datetime | None
    nextScheduledSyncAt: datetime | None
    frequency: str
    latestResult: dict[str, ChangeCounts]
    latestExecutionStatus: SyncState | None
    recordCount: dict[str, int]
    heldDeletes: list[HeldDeletes] = []
    checkpoint: dict[str, str | int | float | bool] | None = None
    progress: ProgressView | None = None
    waiting: WaitingView | None = None


class SyncStatusList(Answer):
    """How syncs stand."""

    syncs: list[SyncStatus]
