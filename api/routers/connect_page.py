"""The page on which an end user picks an integration and connects an account."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.connect_access import (
    EndUserAccess,
    config_of,
    connect_for,
    known_integration,
    open_session,
    said_config,
)
from api.connect_pages import (
    PAGE_HEADERS,
    failure_page,
    form_fields,
    form_page,
    list_page,
    success_page,
)
from api.dependencies import Dependencies, Deps
from api.errors import ApiError
from api.routers.connect_forms import typed_credentials
from perdure.connections.credentials import parse_credentials
from perdure.db.integrations import Integration
from perdure.errors import InvalidInputError, PerdureError
from perdure.providers.provider import AuthMode, Provider

__all__ = ["router"]

_ASSETS = {
    "connect.css": "text/css",
    "done.js": "text/javascript",
    "frame.js": "text/javascript",
}
_LEAVES = (AuthMode.OAUTH1, AuthMode.OAUTH2, AuthMode.APP)

Token = Annotated[str | None, Query(alias="session_token", max_length=255)]

router = APIRouter(include_in_schema=False)


@router.get("/connect")
async def show_choices(request: Request, deps: Deps, token: Token = None) -> Response:
    """Show what can be connected; where it is one thing, go on to that."""
    try:
        guest = await open_session(request, deps, token)
        found = [
            integration
            for integration in await deps.database.integrations.list(guest.environment.id)
            if guest.session.allows(integration.unique_key) and integration.provider in deps.catalog
        ]
    except PerdureError as error:
        return failure_page(error)
    if len(found) == 1:
        query = urlencode({"session_token": token})
        path = f"/connect/integrations/{found[0].unique_key}"
        return RedirectResponse(f"{path}?{query}", status_code=302, headers=PAGE_HEADERS)
    choices = [(integration.unique_key, integration.display_name) for integration in found]
    return list_page(token or "", choices)


@router.get("/connect/integrations/{unique_key}")
async def show_form(request: Request, deps: Deps, unique_key: str, token: Token = None) -> Response:
    """Show what is asked for to connect an account."""
    try:
        guest = await open_session(request, deps, token)
        integration, provider = await known_integration(deps, guest, unique_key)
    except PerdureError as error:
        return failure_page(error)
    return _form(guest, integration, provider, token or "")


@router.post("/connect/integrations/{unique_key}")
async def take_form(request: Request, deps: Deps, unique_key: str) -> Response:
    """Connect an account with what was filled in."""
    try:
        sent = await _sent(request)
        token = sent.pop("session_token", "")
        guest = await open_session(request, deps, token)
        integration, provider = await known_integration(deps, guest, unique_key)
    except PerdureError as error:
        return failure_page(error)
    try:
        connection_id = await _connected(deps, guest, integration, provider, sent)
    except InvalidInputError as error:
        wrong = "; ".join(f"{field.path[-1]}: {field.message}" for field in error.errors)
        wrong = wrong or error.message
        return _form(guest, integration, provider, token, error=wrong, sent=sent)
    except ApiError as error:
        return _form(guest, integration, provider, token, error=error.message, sent=sent)
    except PerdureError as error:
        return failure_page(error)
    return success_page(unique_key, connection_id)


@router.get("/connect/assets/{name}")
async def get_asset(name: str) -> Response:
    """Return a file of the page."""
    if name not in _ASSETS:
        raise ApiError(404, "not_found", "There is no such file.")
    content = (files("api") / "static" / "connect" / name).read_bytes()
    headers = {"cache-control": "public, max-age=300", "x-content-type-options": "nosniff"}
    return Response(content, media_type=_ASSETS[name], headers=headers)


async def _connected(
    deps: Dependencies,
    guest: EndUserAccess,
    integration: Integration,
    provider: Provider,
    sent: dict[str, str],
) -> str:
    params = {
        name.removeprefix("params[")[:-1]: value.strip()
        for name, value in sent.items()
        if name.startswith("params[")
    }
    fields: dict[str, Any] = {
        name: value for name, value in sent.items() if not name.startswith("params[")
    }
    if provider.auth_mode in _LEAVES:
        msg = f"{provider.display_name} is connected on its own consent page."
        raise InvalidInputError(msg, code="unsupported_auth_mode")
    config = config_of(guest, integration, provider, params)
    credentials = parse_credentials(typed_credentials(provider, fields), path=())
    connection = await connect_for(deps, guest, integration, credentials, config)
    return connection.connection_id


def _form(
    guest: EndUserAccess,
    integration: Integration,
    provider: Provider,
    token: str,
    *,
    error: str | None = None,
    sent: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    known = said_config(guest, integration)
    overrides = (guest.session.details.get("overrides") or {}).get(integration.unique_key) or {}
    return form_page(
        token,
        integration.unique_key,
        integration.display_name,
        provider,
        form_fields(provider, known, sent),
        docs=overrides.get("docs_connect") or provider.docs_connect,
        error=error,
    )


async def _sent(request: Request) -> dict[str, str]:
    body = await request.body()
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
    except (UnicodeDecodeError, ValueError) as error:
        raise InvalidInputError("The form could not be read.") from error
