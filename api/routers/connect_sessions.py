"""Connect sessions: an application makes one, and its end user connects accounts in it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from api.connect_access import Guest, public_url
from api.dependencies import Caller, Dependencies, Deps
from api.errors import not_found_as_404
from api.schemas.base import ErrorEnvelope
from api.schemas.connect import (
    NewReconnectSession,
    NewSession,
    SessionAnswer,
    SessionCreated,
    SessionDetail,
    SessionDetailAnswer,
)
from perdure.db.environments import Environment
from perdure.errors import FieldError, InvalidInputError
from perdure.ids import ConnectionKey
from perdure.records.canonical import JsonObject

__all__ = ["router"]

router = APIRouter(tags=["connect"])

# They ask for no key, and therefore say by themselves what a token that opens nothing leads to.
_NO_SESSION: dict[int | str, dict[str, Any]] = {
    401: {"description": "There is no token, or its session has ended.", "model": ErrorEnvelope}
}


@router.post("/connect/sessions", status_code=201)
async def create_connect_session(
    request: Request, deps: Deps, caller: Caller, body: NewSession
) -> SessionAnswer:
    """Make a session of half an hour in which an end user connects accounts."""
    known = {found.unique_key for found in await deps.database.integrations.list(caller.id)}
    named = [("allowed_integrations", index, key) for index, key in enumerate(_allowed(body))]
    named += [
        (where, key, key)
        for where in ("integrations_config_defaults", "overrides")
        for key in getattr(body, where) or {}
    ]
    unknown = [
        FieldError("unknown_integration", f"There is no integration {key!r}.", (where, place))
        for where, place, key in named
        if key not in known
    ]
    if unknown:
        msg = "The session names integrations that there are not."
        raise InvalidInputError(msg, errors=unknown)
    return await _created(request, deps, caller, body.details())


@router.post("/connect/sessions/reconnect", status_code=201)
async def create_reconnect_session(
    request: Request, deps: Deps, caller: Caller, body: NewReconnectSession
) -> SessionAnswer:
    """Make a session of half an hour in which a connection is given new credentials."""
    with not_found_as_404():
        connection = await deps.database.connections.get(
            caller.id, body.integration_id, body.connection_id
        )
    connection.refuse_deleting()
    details = body.details() | {"allowed_integrations": [body.integration_id]}
    return await _created(request, deps, caller, details, connection.key)


@router.get("/connect/session", openapi_extra={"security": []}, responses=_NO_SESSION)
async def get_connect_session(guest: Guest) -> SessionDetailAnswer:
    """Return the session that the token opens."""
    details = guest.session.details
    return SessionDetailAnswer(
        data=SessionDetail(
            allowed_integrations=details.get("allowed_integrations"),
            integrations_config_defaults=details.get("integrations_config_defaults"),
            overrides=details.get("overrides"),
            endUser=details.get("end_user"),
            tags=details.get("tags"),
            isReconnecting=guest.session.connection_key is not None,
            expires_at=guest.session.expires_at,
        )
    )


@router.delete(
    "/connect/session",
    status_code=204,
    openapi_extra={"security": []},
    responses=_NO_SESSION,
)
async def end_connect_session(deps: Deps, guest: Guest) -> None:
    """End the session that the token opens."""
    await deps.database.connect_sessions.delete(guest.session.id)


@router.post("/connect/telemetry", status_code=204, include_in_schema=False)
async def take_telemetry() -> Response:
    """Take what other connect pages tell of their use, and keep nothing of it."""
    return Response(status_code=204)


def _allowed(body: NewSession) -> list[str]:
    return body.allowed_integrations or []


async def _created(
    request: Request,
    deps: Dependencies,
    caller: Environment,
    details: JsonObject,
    connection_key: ConnectionKey | None = None,
) -> SessionAnswer:
    token, expires_at = await deps.database.connect_sessions.create(
        caller.id, details, connection_key=connection_key
    )
    link = f"{public_url(request, deps)}/connect?{urlencode({'session_token': token})}"
    return SessionAnswer(data=SessionCreated(token=token, connect_link=link, expires_at=expires_at))
