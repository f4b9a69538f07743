"""Connections: made by hand or by a link for an end user, and looked after; no credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.connect_pages import form_fields
from api.dashboard.calls import Api, RefusedError, path_of
from api.dashboard.pages.runs import integration_keys
from api.dashboard.rendering import Page, page_url, pretty
from api.dashboard.visit import Form, Visitor, sentence_of
from api.dependencies import Dependencies, Deps
from api.routers.connect_forms import typed_credentials
from perdure.connections.credentials import parse_credentials, reveal_credentials
from perdure.errors import InvalidInputError, NotFoundError
from perdure.providers.provider import AuthMode, Provider

__all__ = ["router"]

_PAGE = 50
_LAST_PAGE = 1_000_000
# These are connected on the provider's own page, by a link.
_BY_LINK = frozenset({AuthMode.OAUTH1, AuthMode.OAUTH2, AuthMode.APP})

router = APIRouter(prefix="/connections")


@router.get("")
async def show_connections(visit: Visitor) -> Response:
    """Show connections, newest first."""

    async def build() -> Page:
        asked = visit.query.get("page") or ""
        number = min(int(asked), _LAST_PAGE) if asked.isdecimal() else 0
        wanted = {
            "integrationId": visit.query.get("integration") or None,
            "search": visit.query.get("search") or None,
        }
        found, integrations = await asyncio.gather(
            visit.api.get("/connections", {**wanted, "limit": _PAGE + 1, "page": number}),
            integration_keys(visit.api),
        )
        connections = found["connections"]
        values = {
            "connections": connections[:_PAGE],
            "has_more": len(connections) > _PAGE,
            "number": number,
            "wanted": wanted,
            "integrations": integrations,
        }
        return Page("connections.html", "Connections", values)

    return await visit.show(build)


@router.get("/new")
async def show_new_connection(visit: Visitor, deps: Deps) -> Response:
    """Ask for what an account of an integration needs."""

    async def build() -> Page:
        found = await visit.api.get("/integrations")
        key = visit.query.get("integration") or ""
        chosen = next((one for one in found["data"] if one["unique_key"] == key), None)
        provider = None if chosen is None else _provider(deps, chosen["provider"])
        values = {
            "integrations": found["data"],
            "chosen": chosen,
            "by_link": provider is not None and provider.auth_mode in _BY_LINK,
            "fields": form_fields(provider, {}, {}) if provider else [],
            "docs": provider.docs_connect if provider else None,
        }
        return Page("connection_new.html", "New connection", values)

    return await visit.show(build)


@router.post("/new")
async def create_connection(visit: Visitor, deps: Deps) -> Response:
    """Make a connection of what was filled in."""
    form = await visit.form()
    integration, name = form.get("integration", ""), form.get("connection_id", "").strip()
    back = page_url("connections", "new", integration=integration)
    try:
        body = await _new_connection(visit.api, deps, integration, name, form)
        made = await visit.api.call("POST", "/connections", body=body)
    except InvalidInputError as error:
        wrong = "; ".join(f"{field.path[-1]}: {field.message}" for field in error.errors)
        return visit.go(back, ("failed", wrong or error.message))
    except RefusedError as refusal:
        return visit.refused(refusal, back)
    to = page_url("connections", integration, made["connection_id"])
    return visit.go(to, ("done", "The account is connected."))


@router.post("/link")
async def create_link(visit: Visitor) -> Response:
    """Make a link by which an end user connects an account."""
    form = await visit.form()
    integration, user = form.get("integration", ""), form.get("end_user", "").strip()
    body = {"allowed_integrations": [integration], "end_user": {"id": user or "dashboard"}}
    try:
        made = await visit.api.call("POST", "/connect/sessions", body=body)
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("connections", "new", integration=integration))
    values = {"link": made["data"]["connect_link"], "expires_at": made["data"]["expires_at"]}
    return await visit.show_once(Page("connection_link.html", "Connect link", values))


@router.get("/{integration}/{connection_id}")
async def show_connection(visit: Visitor, integration: str, connection_id: str) -> Response:
    """Show a connection with its syncs."""

    async def build() -> Page:
        return await _page(visit.api, integration, connection_id)

    return await visit.show(build)


@router.post("/{integration}/{connection_id}")
async def set_metadata(visit: Visitor, integration: str, connection_id: str) -> Response:
    """Replace the metadata of a connection; what is refused is shown as it was typed."""
    typed = (await visit.form()).get("metadata", "")
    try:
        body = {
            "provider_config_key": integration,
            "connection_id": connection_id,
            "metadata": json.loads(typed or "{}"),
        }
        await visit.api.call("POST", "/connections/metadata", body=body)
    except (ValueError, RecursionError) as error:
        refused = f"The metadata is no JSON: {error}"
    except RefusedError as refusal:
        if refusal.status == 401:
            raise
        refused = sentence_of(refusal)
    else:
        to = page_url("connections", integration, connection_id)
        return visit.go(to, ("done", "The metadata is saved."))
    return await visit.show_once(
        await _page(visit.api, integration, connection_id, typed=typed, refused=refused)
    )


@router.post("/{integration}/{connection_id}/reconnect")
async def create_reconnect_link(visit: Visitor, integration: str, connection_id: str) -> Response:
    """Make a link by which an end user gives a connection new credentials."""
    await visit.form()
    body = {"integration_id": integration, "connection_id": connection_id}
    try:
        made = await visit.api.call("POST", "/connect/sessions/reconnect", body=body)
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("connections", integration, connection_id))
    values = {"link": made["data"]["connect_link"], "expires_at": made["data"]["expires_at"]}
    return await visit.show_once(Page("connection_link.html", "Connect link", values))


@router.post("/{integration}/{connection_id}/delete")
async def delete_connection(visit: Visitor, integration: str, connection_id: str) -> Response:
    """Delete a connection with its records."""
    await visit.form()
    path = path_of("connections", connection_id)
    try:
        await visit.api.call("DELETE", path, query={"provider_config_key": integration})
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("connections", integration, connection_id))
    return visit.go(page_url("connections"), ("done", "The connection is deleted."))


async def _page(
    api: Api,
    integration: str,
    connection_id: str,
    *,
    typed: str | None = None,
    refused: str | None = None,
) -> Page:
    query = {"integrationId": integration, "connectionId": connection_id}
    found, syncs, runs = await asyncio.gather(
        api.get("/connections", query),
        _syncs(api, integration, connection_id),
        _runs(api, integration, connection_id),
    )
    if not found["connections"]:
        raise RefusedError(404, {"message": f"There is no connection {connection_id!r}."})
    connection = found["connections"][0]
    values = {
        "connection": connection,
        "integration": integration,
        "syncs": syncs,
        "runs": runs,
        "metadata": pretty(connection["metadata"] or {}) if typed is None else typed,
        "refused": refused,
    }
    is_busy = any(run["status"] == "running" for run in runs)
    return Page("connection.html", connection_id, values, is_busy=is_busy)


def _provider(deps: Dependencies, name: str) -> Provider | None:
    try:
        return deps.catalog.get(name)
    except NotFoundError:
        return None


async def _new_connection(
    api: Api, deps: Dependencies, integration: str, name: str, form: Form
) -> dict[str, Any]:
    found = await api.get(path_of("integrations", integration))
    provider = deps.catalog.get(found["data"]["provider"])
    params = {
        field.removeprefix("params[")[:-1]: value.strip()
        for field, value in form.items()
        if field.startswith("params[") and value.strip()
    }
    own = ("integration", "connection_id")
    filled = {
        field: value
        for field, value in form.items()
        if field not in own and not field.startswith("params[")
    }
    credentials = parse_credentials(typed_credentials(provider, filled), path=())
    body: dict[str, Any] = {
        "provider_config_key": integration,
        "credentials": reveal_credentials(credentials),
    }
    if name:
        body["connection_id"] = name
    if params:
        body["connection_config"] = params
    return body


async def _syncs(api: Api, integration: str, connection_id: str) -> list[dict[str, Any]]:
    query = {"provider_config_key": integration, "connection_id": connection_id, "syncs": "*"}
    try:
        found = await api.get("/sync/status", query)
    except RefusedError:
        return []
    syncs: list[dict[str, Any]] = found["syncs"]
    return syncs


async def _runs(api: Api, integration: str, connection_id: str) -> list[Mapping[str, Any]]:
    query = {"integration": integration, "connection_id": connection_id, "limit": 10}
    try:
        found = await api.get("/runs", query)
    except RefusedError:
        return []
    runs: list[Mapping[str, Any]] = found["runs"]
    return runs
