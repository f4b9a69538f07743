"""The environment: its settings, its variables, its API keys, and what was done with them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.calls import RefusedError, path_of
from api.dashboard.rendering import Page, page_url
from api.dashboard.visit import Visitor
from api.scopes import EVERYTHING, SCOPES

__all__ = ["router"]

_TABS = ("environment", "variables", "keys", "audit")
_VALIDATION = ("off", "warn", "enforce")

router = APIRouter(prefix="/settings")


@router.get("")
@router.get("/{tab}")
async def show_settings(visit: Visitor, tab: str = "environment") -> Response:
    """Show one part of the settings."""

    async def build() -> Page:
        values: dict[str, Any] = {"tab": tab}
        if tab == "environment":
            values["environment"] = await visit.api.get("/environment")
            values["validations"] = _VALIDATION
        elif tab == "variables":
            found = await visit.api.get("/environment-variables")
            # Values are secrets as often as not; they are set here, never shown.
            values["variables"] = [variable["name"] for variable in found]
        elif tab == "keys":
            found = await visit.api.get("/environment/api-keys")
            values["keys"] = found["data"]
            values["scopes"] = SCOPES
        elif tab == "audit":
            query = {"cursor": visit.query.get("cursor") or None}
            found = await visit.api.get("/audit", query)
            values["events"] = found["data"]
            values["next_cursor"] = found["next_cursor"]
        else:
            raise RefusedError(404, {"message": "There is no such page."})
        return Page(f"settings_{tab}.html", "Settings", values)

    return await visit.show(build)


@router.post("/environment")
async def change_environment(visit: Visitor) -> Response:
    """Change the environment."""
    form = await visit.form()
    body: dict[str, Any] = {}
    if form.get("validation") in _VALIDATION:
        body["validation"] = form["validation"]
    for name in ("action_limit", "connection_action_limit"):
        if form.get(name, "").isdecimal():
            body[name] = int(form[name])
    call = visit.api.call("PATCH", "/environment", body=body)
    return await visit.do(call, to=page_url("settings", "environment"), done="It is saved.")


@router.post("/variables")
async def set_variable(visit: Visitor) -> Response:
    """Set a variable."""
    form = await visit.form()
    name = form.get("name", "").strip()
    path = path_of("environment-variables", name or " ")
    call = visit.api.call("PUT", path, body={"value": form.get("value", "")})
    return await visit.do(call, to=page_url("settings", "variables"), done=f"{name} is set.")


@router.post("/variables/{name}/delete")
async def delete_variable(visit: Visitor, name: str) -> Response:
    """Delete a variable."""
    await visit.form()
    call = visit.api.call("DELETE", path_of("environment-variables", name))
    return await visit.do(call, to=page_url("settings", "variables"), done=f"{name} is deleted.")


@router.post("/keys")
async def create_key(visit: Visitor) -> Response:
    """Make an API key, and show it this once."""
    form = await visit.form()
    chosen = [scope for scope in SCOPES if form.get(f"scope.{scope}") == "yes"]
    scopes = [EVERYTHING] if form.get("everything") == "yes" else chosen
    body = {"name": form.get("name", ""), "scopes": scopes}
    try:
        made = await visit.api.call("POST", "/environment/api-keys", body=body)
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("settings", "keys"))
    values = {"what": f"API key “{made['name']}”", "secret": made["api_key"], "back": "settings"}
    return await visit.show_once(Page("shown_once.html", "API key", values))


@router.post("/keys/{key_id}/revoke")
async def revoke_key(visit: Visitor, key_id: str) -> Response:
    """Revoke an API key."""
    await visit.form()
    call = visit.api.call("DELETE", path_of("environment", "api-keys", key_id))
    return await visit.do(call, to=page_url("settings", "keys"), done="The key opens nothing now.")
