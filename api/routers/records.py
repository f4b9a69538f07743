"""Records: the stored bytes, handed on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.types import Receive, Scope, Send

from api.dependencies import Caller, CallerAccess, Dependencies, Deps
from api.permission import check_permission
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from api.schemas.records import PruneBody, Pruned, RecordList
from perdure.db.records import NamedRecordSet, RecordFilter, RecordPage, RecordSet
from perdure.errors import FieldError, InvalidInputError
from perdure.ids import BASE_VARIANT

__all__ = ["RecordQuery", "query_values", "read_page", "router"]

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


class _RecordsRoute(APIRoute):
    """Reads valid requests by itself, and leaves it to FastAPI to say what is wrong with others.

    What FastAPI does with parameters and dependencies takes as long as to read a few records.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        request = Request(scope, receive)
        read = _read(request)
        if read is None:
            await super().handle(scope, receive, send)
            return
        deps: Dependencies = request.app.state.dependencies
        await check_permission(request, deps)
        connection_id, integration, query = read
        answer = await list_records(
            deps,
            request.state.access,
            connection_id=connection_id,
            integration=integration,
            query=query,
        )
        await answer(scope, receive, send)


def _read(request: Request) -> tuple[str, str, RecordQuery] | None:
    """Return what a request asks `list_records` for, None where it is not valid."""
    connection_id = request.headers.get("connection-id")
    integration = request.headers.get("provider-config-key")
    if request.method != "GET" or not connection_id or not integration:
        return None
    try:
        query = RecordQuery.model_validate(query_values(request))
    except ValidationError:
        return None
    return connection_id, integration, query


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
    return Response(page.body(), media_type="application/json")


router.add_api_route(
    "/records",
    list_records,
    methods=["GET"],
    responses={200: {"model": RecordList}},
    response_class=Response,
    route_class_override=_RecordsRoute,
)


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
