"""Records: the stored bytes, handed on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.dependencies import Caller, CallerAccess, Dependencies, Deps
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from api.schemas.records import PruneBody, Pruned, RecordList
from perdure.db.records import NamedRecordSet, RecordFilter, RecordPage, RecordSet
from perdure.errors import FieldError, InvalidInputError
from perdure.ids import BASE_VARIANT

__all__ = ["RecordQuery", "RecordsResponse", "list_records", "query_values", "read_page", "router"]

router = APIRouter(tags=["records"])

_RecordId = Annotated[str, StringConstraints(max_length=256)]


class RecordQuery(BaseModel):
    """Which records are wanted."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    model: str = Field(min_length=1, max_length=255)
    # What a run builds anew stands in variants of other names, which no client reads.
    variant: str = Field(BASE_VARIANT, max_length=255, pattern="^[a-zA-Z0-9_-]+$")
    cursor: str | None = Field(None, max_length=1000)
    limit: int = Field(100, ge=1, le=10_000)
    filter: str | None = Field(None, description="Of added, updated, deleted; by commas.")
    modified_after: datetime | None = None
    delta: datetime | None = Field(None, json_schema_extra={"deprecated": True})
    ids: list[_RecordId] | None = Field(None, max_length=100)


class RecordsResponse(Response):
    """A page of records. To free what it is made of takes a while: that stays until it is sent."""

    media_type = "application/json"

    def __init__(self, page: RecordPage) -> None:
        super().__init__(page.body())
        self._page = page


@router.get("/records", responses={200: {"model": RecordList}}, response_class=Response)
async def list_records(
    deps: Deps,
    caller: CallerAccess,
    *,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    query: Annotated[RecordQuery, Query()],
) -> Response:
    """Return records in the order of their latest change; follow `next_cursor` for more."""
    whose = (caller.environment_id, integration, connection_id)
    try:
        page = await read_page(deps, NamedRecordSet(*whose, query.model, query.variant), query)
    except InvalidInputError:
        # That there is no such connection is told first.
        await deps.database.connections.get(*whose)
        raise
    if not page.payloads:
        # It shows only here that there is none.
        await deps.database.connections.get(*whose)
    return RecordsResponse(page)


@router.patch("/records/prune")
async def prune_records(
    deps: Deps,
    caller: Caller,
    *,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    body: PruneBody,
) -> Pruned:
    """Give up the payloads of records up to a cursor; ids and metadata stay."""
    connection = await deps.database.connections.get(caller.id, integration, connection_id)
    pruned = await deps.database.record_pruning.prune(
        RecordSet(connection.key, body.model, body.variant),
        until_cursor=body.until_cursor,
        limit=body.limit,
    )
    return Pruned(count=pruned.count, has_more=pruned.has_more)


def query_values(request: Request) -> dict[str, object]:
    """Return the query of a request, for `RecordQuery`: of what is given twice the last counts."""
    values: dict[str, object] = dict(request.query_params)
    if "ids" in values:
        values["ids"] = request.query_params.getlist("ids")
    return values


async def read_page(
    deps: Dependencies, target: RecordSet | NamedRecordSet, query: RecordQuery
) -> RecordPage:
    """Return the page of records that a query asks for.

    Raises:
        InvalidInputError: `invalid_query_params` or `invalid_cursor`.
    """
    return await deps.database.records.list(
        target,
        after_cursor=query.cursor,
        limit=query.limit,
        filters=_filters(query.filter),
        modified_after=_aware(query.modified_after or query.delta),
        ids=query.ids,
    )


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
