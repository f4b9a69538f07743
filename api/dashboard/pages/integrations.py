"""Integrations: their connections, the scripts that are deployed for them, and their settings."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.calls import RefusedError, path_of
from api.dashboard.rendering import Page, page_url
from api.dashboard.visit import Form, Visitor

__all__ = ["router"]

_TABS = ("connections", "scripts", "settings")
_SHOWN_CONNECTIONS = 50
_SHOWN_SCRIPTS = 100
# Of the credentials of an integration; what is left empty stays as it is.
_SECRETS = ("client_secret", "private_key", "webhook_secret")
_PLAIN = ("client_id", "scopes", "app_id", "app_link")

router = APIRouter(prefix="/integrations")


@router.get("")
async def show_integrations(visit: Visitor) -> Response:
    """Show all integrations."""

    async def build() -> Page:
        found = await visit.api.get("/integrations")
        return Page("integrations.html", "Integrations", {"integrations": found["data"]})

    return await visit.show(build)


@router.get("/new")
async def show_new_integration(visit: Visitor) -> Response:
    """Let people choose a provider."""

    async def build() -> Page:
        search = visit.query.get("search") or ""
        found = await visit.api.get("/providers", {"search": search})
        values = {"providers": found["data"], "search": search}
        return Page("integration_new.html", "New integration", values)

    return await visit.show(build)


@router.post("/new")
async def create_integration(visit: Visitor) -> Response:
    """Make an integration with a provider."""
    form = await visit.form()
    provider = form.get("provider", "")
    key = form.get("unique_key", "").strip() or provider
    body = {"provider": provider, "unique_key": key}
    try:
        await visit.api.call("POST", "/integrations", body=body)
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("integrations", "new", search=provider))
    return visit.go(page_url("integrations", key, "settings"), ("done", "It is made."))


@router.get("/{key}")
@router.get("/{key}/{tab}")
async def show_integration(visit: Visitor, key: str, tab: str = "connections") -> Response:
    """Show an integration."""

    async def build() -> Page:
        if tab not in _TABS:
            raise RefusedError(404, {"message": "There is no such page."})
        # Whether there are credentials is to be shown, not which.
        include = ["webhook", "credentials"] if tab == "settings" else []
        try:
            found = await visit.api.get(path_of("integrations", key), {"include": include})
        except RefusedError as refusal:
            if refusal.status != 403:
                raise
            found = await visit.api.get(path_of("integrations", key))
        values: dict[str, Any] = {"integration": _shown(found["data"]), "key": key, "tab": tab}
        if tab == "connections":
            query = {"integrationId": key, "limit": _SHOWN_CONNECTIONS}
            connections = await visit.api.get("/connections", query)
            values["connections"] = connections["connections"]
        elif tab == "scripts":
            scripts = await visit.api.get(
                path_of("integrations", key, "functions"), {"limit": _SHOWN_SCRIPTS}
            )
            values["scripts"] = scripts["data"]
        return Page(f"integration_{tab}.html", key, values)

    return await visit.show(build)


@router.get("/{key}/scripts/{type}/{name}")
async def show_script(visit: Visitor, key: str, type: str, name: str) -> Response:
    """Show a script as it is deployed."""

    async def build() -> Page:
        path = path_of("integrations", key, "functions", name)
        script, code = await asyncio.gather(
            visit.api.get(path, {"type": type}),
            visit.api.get(f"{path}/code", {"type": type}),
        )
        values = {"script": script["data"], "code": code["code"], "key": key}
        return Page("script.html", f"{key} / {name}", values)

    return await visit.show(build)


@router.post("/{key}/settings")
async def change_integration(visit: Visitor, key: str) -> Response:
    """Change the settings of an integration."""
    form = await visit.form()
    call = visit.api.call("PATCH", path_of("integrations", key), body=_changes(form))
    to = page_url("integrations", key, "settings")
    return await visit.do(call, to=to, done="The settings are saved.")


@router.post("/{key}/delete")
async def delete_integration(visit: Visitor, key: str) -> Response:
    """Delete an integration with its connections."""
    await visit.form()
    try:
        await visit.api.call("DELETE", path_of("integrations", key))
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("integrations", key, "settings"))
    return visit.go(page_url("integrations"), ("done", "The integration is deleted."))


def _changes(form: Form) -> dict[str, Any]:
    changes: dict[str, Any] = {"forward_webhooks": form.get("forward_webhooks") == "yes"}
    if name := form.get("display_name", "").strip():
        changes["display_name"] = name
    credentials = {
        field: form[field].strip() for field in (*_PLAIN, *_SECRETS) if form.get(field, "").strip()
    }
    if credentials:
        changes["credentials"] = credentials
    return changes


def _shown(integration: dict[str, Any]) -> dict[str, Any]:
    """Return an integration with what may be read of its credentials."""
    credentials = integration.get("credentials") or {}
    return {
        **integration,
        "credentials": {name: credentials.get(name) for name in _PLAIN},
        "secrets": {name: bool(credentials.get(name)) for name in _SECRETS},
    }
