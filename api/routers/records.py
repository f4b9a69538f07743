"""Records: the stored bytes, handed on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import Caller, Deps
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from api.schemas.records import RecordList
from perdure.db.records import RecordFilter, RecordSet
from perdure.errors import FieldError, InvalidInputError
from perdure.ids import BASE_VARIANT

__all__ = ["router"]

router = APIRouter(tags=["records"])

_RecordId = Annotated[str, Query(max_length=256)]


@router.get("/records/", include_in_schema=False)
@router.get("/records", responses={200: {"model": RecordList}}, response_class=Response)
async def list_records(
    deps: Deps,
    caller: Caller,
    *,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    model: Annotated[str, Query(min_length=1, max_length=255)],
    variant: Annotated[str, Query(min_length=1, max_length=255)] = BASE_VARIANT,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    filter_: Annotated[
        str | None, Query(alias="filter", description="Of added, updated, deleted; by commas.")
    ] = None,
    modified_after: datetime | None = None,
    delta: Annotated[datetime | None, Query(deprecated=True)] = None,
    ids: Annotated[list[_RecordId] | None, Query(max_length=100)] = None,
) -> Response:
    """Return records in the order of their latest change; follow `next_cursor` for more."""
    connection = await deps.database.connections.get(caller.id, integration, connection_id)
    page = await deps.database.records.list(
        RecordSet(connection.key, model, variant),
        after_cursor=cursor,
        limit=limit,
        filters=_filters(filter_),
        modified_after=_aware(modified_after or delta),
        ids=ids,
    )
    return Response(page.body(), media_type="application/json")


def _filters(text: str | None) -> Collection[RecordFilter]:
    if not text:
        return tuple(RecordFilter)
    try:
        return [RecordFilter(word.strip().lower()) for word in text.split(",")]
    except ValueError as error:
        msg = "`filter` takes added, updated and deleted, separated by commas."
        field = FieldError("invalid_filter", msg, ("filter",))
        raise InvalidInputError(msg, code="invalid_query_params", errors=[field]) from error


def _aware(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
