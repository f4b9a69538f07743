"""Records, for the description of the API: what is sent is put together from stored bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.base import Answer

__all__ = ["RecordList"]


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
