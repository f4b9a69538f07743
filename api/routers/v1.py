"""The endpoints that the environment's own `nango.yaml` declares, below `/v1`.

`Provider-Config-Key` says which integration's, `Connection-Id` for whom. The endpoint of a sync
answers the records of the output it was declared for, exactly as `GET /records` does; where its
path names the record (`/tickets/{Ticket:id}`) only that one, and other values in its path select
nothing. The endpoint of an action triggers it; `config.endpoint_input` says with which input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from api.action_calls import CalledAction
from api.dependencies import Background, Caller, CallerAccess, Deps
from api.routers.actions import Options, answer_call
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from api.routers.records import RecordQuery, RecordsResponse, query_values, read_page
from config.endpoint_input import action_input, parse_json
from config.endpoints import EndpointIndex, EndpointMatch
from config.problems import shorten
from config.project import NangoConfig
from config.schema import METHODS
from perdure.db.records import RecordSet
from perdure.errors import FieldError, InvalidInputError, NotFoundError
from perdure.ids import BundleHash

__all__ = ["router"]

_PREFIX = "/v1"

router = APIRouter(prefix=_PREFIX)


@dataclass(frozen=True, slots=True)
class _Project:
    """A bundle's configuration, told apart by the hash alone."""

    hash: BundleHash
    config: NangoConfig = field(compare=False)


@lru_cache(maxsize=64)
def _index(project: _Project) -> EndpointIndex:
    return EndpointIndex(project.config)


@router.api_route("/{path:path}", methods=[*METHODS], include_in_schema=False)
async def call_endpoint(
    request: Request,
    deps: Deps,
    caller: Caller,
    access: CallerAccess,
    *,
    background: Background,
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    options: Options,
) -> Response:
    """Do what the endpoint was declared for."""
    connection = await deps.database.connections.get(caller.id, integration, connection_id)
    if caller.active_bundle is None:
        msg = "Nothing is deployed; `perdure deploy` serves what nango.yaml declares."
        raise NotFoundError(msg)
    config = await deps.bundles.config(caller.active_bundle)
    found = _find(_index(_Project(caller.active_bundle, config)), integration, request)
    if found.target.model is not None:
        access.require("environment:records:read")
        query = _record_query(request, found)
        page = await read_page(deps, RecordSet(connection.key, query.model, query.variant), query)
        return RecordsResponse(page)
    access.require("environment:actions:execute")
    body = b"" if request.method == "GET" else await request.body()
    given = _json(request, body) if body else None
    call = CalledAction(
        connection=connection,
        name=found.target.script.name,
        input=action_input(config, found, _query(request), given, has_body=bool(body)),
        options=options,
    )
    return await answer_call(deps, caller, background, call)


def _find(index: EndpointIndex, integration: str, request: Request) -> EndpointMatch:
    method, path = request.method, _path(request)
    if found := index.find(integration, method, path):
        return found
    if methods := index.methods(integration, path):
        raise HTTPException(405, headers={"allow": ", ".join(methods)})
    msg = f"{integration!r} declares no endpoint {method} {shorten(path)}."
    if near := index.near(integration, method, path):
        msg += f" Near it are: {', '.join(near)}."
    if others := index.integrations(method, path):
        msg += f" The header Provider-Config-Key would have to be one of: {', '.join(others)}."
    raise NotFoundError(msg)


def _path(request: Request) -> str:
    """Return the path below the prefix as it was sent: `%2F` is no slash."""
    raw = bytes(request.scope.get("raw_path") or b"").decode("latin-1")
    _, prefix, path = raw.partition(f"{_PREFIX}/")
    return f"/{path}" if prefix else f"/{quote(request.path_params['path'])}"


def _query(request: Request) -> dict[str, list[str]]:
    return {name: request.query_params.getlist(name) for name in request.query_params}


def _record_query(request: Request, found: EndpointMatch) -> RecordQuery:
    target = found.target
    values = query_values(request) | {"model": target.model}
    for parameter in target.template.parameters:
        if parameter.field == "id" and parameter.model in (None, target.model):
            if "ids" in values:
                msg = "The path names the record already; leave `ids` out."
                errors = [FieldError("conflict", msg, ("ids",))]
                raise InvalidInputError(msg, code="invalid_query_params", errors=errors)
            values["ids"] = [found.values[parameter.name]]
    try:
        return RecordQuery.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(
            [{**entry, "loc": ("query", *entry["loc"])} for entry in error.errors()]
        ) from error


def _json(request: Request, body: bytes) -> Any:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        msg = "Send the body as JSON, with the header `Content-Type: application/json`."
        raise InvalidInputError(msg, code="invalid_content_type")
    try:
        return parse_json(body)
    except ValueError as error:
        msg = f"The body is no JSON: {error}"
        raise InvalidInputError(msg) from error
