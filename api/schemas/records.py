"""Records, for the description of the API: what is sent is put together from stored bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.base import Answer, Body
from perdure.ids import BASE_VARIANT

__all__ = ["PruneBody", "Pruned", "RecordList"]


class RecordMetadata(Answer):
    """What we know about a record."""

    first_seen_at: datetime
    last_modified_at: datetime
    last_action: Literal["ADDED", "UPDATED", "DELETED"]
    deleted_at: datetime | None
    pruned_at: datetime | None
    cursor: str


class RecordView(BaseModel):
    """The record as the sync saved it, with our metadata."""

    model_config = ConfigDict(extra="allow")

    id: str
    nango_metadata: RecordMetadata = Field(alias="_nango_metadata")


class RecordList(Answer):
    """A page of the change stream."""

    next_cursor: str | None
    records: list[RecordView]


class PruneBody(Body):
    """Which records are to be pruned.

    Attributes:
        until_cursor: The last change whose record is pruned.
        limit: Most records of one call.
    """

    model: str = Field(min_length=1, max_length=255)
    variant: str = Field(BASE_VARIANT, min_length=1, max_length=255)
    until_cursor: str = Field(max_length=1000)
    limit: int = Field(1000, ge=1, le=10_000)


class Pruned(Answer):
    """What was pruned.

    Attributes:
        has_more: Whether further records up to the cursor have a payload.
    """

    count: int
    has_more: bool
