"""Connections. Making and deleting one goes through a workflow, which sees to its schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request

from api.access import Access
from api.connecting import Account, Owner, connect_account
from api.connection_workflows import delete
from api.dependencies import Caller, CallerAccess, Dependencies, Deps
from api.errors import ApiError, read_body
from api.routers.parameters import ConnectionIdPath, IntegrationQuery
from api.schemas.base import ErrorEnvelope, Success
from api.schemas.connections import (
    ConnectionChange,
    ConnectionDetail,
    ConnectionList,
    ConnectionSummary,
    NewConnection,
)
from api.schemas.flat_connections import FlatConnection
from api.schemas.tags import tag_name
from perdure.clock import utcnow
from perdure.connections.credentials import Credentials, parse_credentials
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.db.integrations import Integration
from perdure.errors import (
    CredentialsError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    UpstreamError,
)
from perdure.providers.provider import Provider

__all__ = ["router"]

router = APIRouter(tags=["connections"])


@router.post(
    "/connections",
    responses={504: {"description": "Scripts still check it.", "model": ErrorEnvelope}},
)
async def create_connection(
    deps: Deps, caller: Caller, access: CallerAccess, body: NewConnection
) -> ConnectionDetail:
    """Make a connection, or give an existing one new credentials.

    The provider may refuse the credentials, and so may scripts; where they do not, others run and
    its syncs start.
    """
    integration = await _integration(deps, caller, body.provider_config_key)
    return await _create(deps, caller, access, integration, body)


@router.post("/connection", include_in_schema=False)
async def create_connection_of_older_clients(
    deps: Deps, caller: Caller, access: CallerAccess, body: Annotated[dict[str, Any], Body()]
) -> ConnectionDetail:
    """Do the same where the credentials may stand among the other fields."""
    if "credentials" in body:
        return await create_connection(deps, caller, access, read_body(NewConnection, body))
    flat = read_body(FlatConnection, body)
    integration = await _integration(deps, caller, flat.provider_config_key)
    auth_mode = deps.catalog.get(integration.provider).auth_mode
    new = NewConnection(
        provider_config_key=flat.provider_config_key,
        connection_id=flat.connection_id,
        credentials=flat.credentials(auth_mode, utcnow()),
        metadata=flat.metadata,
        connection_config=flat.connection_config,
    )
    return await _create(deps, caller, access, integration, new)


async def _create(
    deps: Dependencies,
    caller: Environment,
    access: Access,
    integration: Integration,
    body: NewConnection,
) -> ConnectionDetail:
    provider = deps.catalog.get(integration.provider)
    account = Account(
        integration, provider, _credentials(provider, body.credentials), body.connection_config
    )
    owner = Owner(
        body.connection_id,
        metadata=body.metadata,
        tags=body.tags,
        end_user=body.end_user.model_dump(exclude_unset=True) if body.end_user else None,
        webhook_url_override=body.webhook_url_override,
    )
    connection = await connect_account(deps, caller, account, owner)
    return await _detail(deps, connection, access)


@router.get("/connection", include_in_schema=False)
@router.get("/connections")
async def list_connections(
    deps: Deps,
    caller: CallerAccess,
    *,
    request: Request,
    connection_id: Annotated[str | None, Query(alias="connectionId")] = None,
    search: str | None = None,
    end_user_id: Annotated[str | None, Query(alias="endUserId")] = None,
    end_user_organization_id: Annotated[str | None, Query(alias="endUserOrganizationId")] = None,
    integration_id: Annotated[str | None, Query(alias="integrationId")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    page: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> ConnectionList:
    """Return connections, newest first; `integrationId` takes several, `tags[key]=value` too."""
    connections = await deps.database.connections.list(
        caller.environment_id,
        integrations=integration_id.split(",") if integration_id else None,
        connection_id=connection_id,
        search=search,
        end_user_id=end_user_id,
        end_user_organization_id=end_user_organization_id,
        tags=_tags(request.query_params),
        limit=limit,
        offset=page * limit,
    )
    failed = await deps.database.lifecycle.failed_syncs([found.key for found in connections])
    return ConnectionList(
        connections=[
            ConnectionSummary.of(found, failed.get(found.key, ())) for found in connections
        ]
    )


@router.get("/connection/{connection_id:path}", include_in_schema=False)
@router.get("/connections/{connection_id:path}")
async def get_connection(
    deps: Deps,
    caller: CallerAccess,
    connection_id: ConnectionIdPath,
    integration: IntegrationQuery,
    *,
    force_refresh: bool = False,
    refresh_token: bool = False,
    refresh_github_app_jwt_token: bool = False,
) -> ConnectionDetail:
    """Return a connection with its credentials, or without them to keys that may not read those.

    Credentials that are about to expire are refreshed before, with `force_refresh` all that can
    be. `refresh_token` adds what renews them, `refresh_github_app_jwt_token` what an app shows
    who it is with (`jwtToken`).
    """
    store = deps.database.connections
    try:
        connection = await store.get(caller.environment_id, integration, connection_id)
    except NotFoundError as error:
        if error.code == "unknown_connection":
            raise NotFoundError(error.message) from error
        raise
    if not _may_read_credentials(caller):
        detail = await _detail(deps, connection, caller)
        await store.mark_fetched(connection.key)
        return detail
    try:
        credentials = await deps.keeper.shown(
            connection,
            force=force_refresh,
            refresh_token=refresh_token,
            app_jwt=refresh_github_app_jwt_token,
        )
    except (CredentialsError, UpstreamError) as error:
        raise await _refusal(deps, connection, error) from error
    detail = ConnectionDetail.of(
        await store.by_key(connection.key), credentials, await _failed_syncs(deps, connection)
    )
    await store.mark_fetched(connection.key)
    return detail


@router.patch("/connection/{connection_id:path}", include_in_schema=False)
@router.patch("/connections/{connection_id:path}")
async def change_connection(
    deps: Deps,
    caller: Caller,
    connection_id: ConnectionIdPath,
    integration: IntegrationQuery,
    body: ConnectionChange,
) -> Success:
    """Change whom a connection belongs to, its tags, or where its webhooks go."""
    url = body.webhook_url_override
    removed = "webhook_url_override" in body.model_fields_set and url is None
    await deps.database.connections.update(
        caller.id,
        integration,
        connection_id,
        tags=body.tags,
        end_user=body.end_user.model_dump(exclude_unset=True) if body.end_user else None,
        webhook_url_override="" if removed else url,
    )
    return Success()


@router.delete("/connection/{connection_id:path}", include_in_schema=False)
@router.delete("/connections/{connection_id:path}")
async def delete_connection(
    deps: Deps, caller: Caller, connection_id: ConnectionIdPath, integration: IntegrationQuery
) -> Success:
    """Let its scripts run and end what runs for a connection, then delete it with all it has."""
    connection = await deps.database.connections.get(caller.id, integration, connection_id)
    await delete(deps, caller, connection)
    return Success()


async def _integration(deps: Dependencies, caller: Environment, key: str) -> Integration:
    try:
        return await deps.database.integrations.get(caller.id, key)
    except NotFoundError as error:
        raise NotFoundError(error.message) from error


def _credentials(provider: Provider, given: Mapping[str, Any]) -> Credentials:
    if given.get("type") != provider.auth_mode:
        msg = f"{provider.display_name} connections authenticate with {provider.auth_mode}."
        field = FieldError("invalid_credentials_type", msg, ("credentials", "type"))
        raise InvalidInputError(msg, errors=[field])
    return parse_credentials(given)


def _may_read_credentials(access: Access) -> bool:
    return access.allows("environment:connections:read_credentials")


async def _detail(deps: Dependencies, connection: Connection, access: Access) -> ConnectionDetail:
    credentials = await deps.database.connections.credentials(connection)
    if not _may_read_credentials(access):
        credentials = {"type": credentials["type"]}
    return ConnectionDetail.of(connection, credentials, await _failed_syncs(deps, connection))


async def _failed_syncs(deps: Dependencies, connection: Connection) -> Sequence[str]:
    found = await deps.database.lifecycle.failed_syncs([connection.key])
    return found.get(connection.key, ())


async def _refusal(
    deps: Dependencies, connection: Connection, error: CredentialsError | UpstreamError
) -> ApiError:
    """Return the answer where credentials cannot be had: it has the rest of the connection."""
    known = await deps.database.connections.by_key(connection.key)
    shown = ConnectionDetail.of(known, {}, await _failed_syncs(deps, known))
    payload = {
        **(error.payload or {}),
        "connection": shown.model_dump(mode="json", exclude={"credentials"}),
    }
    wait = error.retry_after if isinstance(error, UpstreamError) else None
    headers = None if wait is None else {"retry-after": str(math.ceil(wait))}
    return ApiError(424, error.code, error.message, payload=payload, headers=headers)


def _tags(query: Mapping[str, str]) -> dict[str, str] | None:
    tags = {
        tag_name(name.removeprefix("tags[")[:-1]): value
        for name, value in query.items()
        if name.startswith("tags[") and name.endswith("]")
    }
    return tags or None
