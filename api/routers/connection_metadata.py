"""Metadata of connections: a JSON object that belongs to the application."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from api.dependencies import Caller, Deps
from api.errors import not_found_as_404
from api.routers.parameters import ConnectionIdPath, IntegrationHeader
from api.schemas.connections import NewMetadata

__all__ = ["router"]

router = APIRouter(tags=["connections"])

Metadata = Annotated[dict[str, Any], Body()]


@router.post("/connections/metadata", status_code=201)
async def set_metadata(deps: Deps, caller: Caller, body: NewMetadata) -> NewMetadata:
    """Replace the metadata of connections, of all that are named or of none."""
    with not_found_as_404():
        await deps.database.connections.set_metadata(
            caller.id, body.provider_config_key, body.connection_ids, body.metadata
        )
    return body


@router.patch("/connections/metadata")
async def update_metadata(deps: Deps, caller: Caller, body: NewMetadata) -> NewMetadata:
    """Set single keys of the metadata of connections, of all that are named or of none."""
    with not_found_as_404():
        await deps.database.connections.merge_metadata(
            caller.id, body.provider_config_key, body.connection_ids, body.metadata
        )
    return body


# Older clients name one connection in the path and send nothing but the metadata.
router.add_api_route(
    "/connection/metadata", set_metadata, methods=["POST"], status_code=201, include_in_schema=False
)
router.add_api_route(
    "/connection/metadata", update_metadata, methods=["PATCH"], include_in_schema=False
)


@router.post("/connection/{connection_id:path}/metadata", status_code=201, include_in_schema=False)
async def set_metadata_of_one(
    deps: Deps,
    caller: Caller,
    connection_id: ConnectionIdPath,
    integration: IntegrationHeader,
    metadata: Metadata,
) -> dict[str, Any]:
    """Replace the metadata of a connection."""
    with not_found_as_404():
        await deps.database.connections.set_metadata(
            caller.id, integration, [connection_id], metadata
        )
    return metadata


@router.patch("/connection/{connection_id:path}/metadata", include_in_schema=False)
async def update_metadata_of_one(
    deps: Deps,
    caller: Caller,
    connection_id: ConnectionIdPath,
    integration: IntegrationHeader,
    metadata: Metadata,
) -> dict[str, Any]:
    """Set single keys of the metadata of a connection."""
    with not_found_as_404():
        await deps.database.connections.merge_metadata(
            caller.id, integration, [connection_id], metadata
        )
    return metadata
