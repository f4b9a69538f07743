"""Which records there are, and how many."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import Caller, Deps
from api.places import decode_place, encode_place
from api.schemas.base import Answer

__all__ = ["router"]

router = APIRouter(tags=["records"])


class RecordSetView(Answer):
    """The records of a model of a connection.

    Attributes:
        records: How many there are that are not deleted.
    """

    integration: str
    connection_id: str
    model: str
    variant: str
    records: int


class RecordSetList(Answer):
    """Sets of records, by connection and model."""

    sets: list[RecordSetView]
    next_cursor: str | None


@router.get("/record-sets")
async def list_record_sets(
    deps: Deps,
    caller: Caller,
    *,
    integration: str | None = None,
    connection: Annotated[
        str | None, Query(description="A part of the name of the connection.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> RecordSetList:
    """Return which records there are; follow `next_cursor` for more."""
    found = await deps.database.record_sets.counted(
        caller.id,
        integration=integration,
        connection=connection,
        after=decode_place(cursor),
        limit=limit + 1,
    )
    return RecordSetList(
        sets=[
            RecordSetView(
                integration=one.integration,
                connection_id=one.connection_id,
                model=one.model,
                variant=one.variant,
                records=one.live,
            )
            for one in found[:limit]
        ],
        next_cursor=encode_place(found[limit - 1].place) if len(found) > limit else None,
    )
