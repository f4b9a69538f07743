"""Actions: called by a form that follows their input's schema, with what came of former calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.calls import Api, RefusedError, path_of
from api.dashboard.pages.runs import integration_keys
from api.dashboard.rendering import Page, page_url
from api.dashboard.schema_forms import InvalidFieldError, form_of, input_of
from api.dashboard.visit import Visitor

__all__ = ["router"]

_RUNS = 20
_ACTIONS = 100

router = APIRouter(prefix="/actions")


@router.get("")
async def show_actions(visit: Visitor) -> Response:
    """Show the actions that are deployed, and their latest calls."""

    async def build() -> Page:
        keys = await integration_keys(visit.api)
        scripts, runs = await asyncio.gather(
            asyncio.gather(*(_actions(visit.api, key) for key in keys)), _calls(visit.api)
        )
        actions = [
            (key, action) for key, found in zip(keys, scripts, strict=True) for action in found
        ]
        is_busy = any(run["status"] == "running" for run in runs)
        return Page("actions.html", "Actions", {"actions": actions, "runs": runs}, is_busy=is_busy)

    return await visit.show(build)


@router.get("/{integration}/{name}")
async def show_action(visit: Visitor, integration: str, name: str) -> Response:
    """Show an action with a form to call it."""

    async def build() -> Page:
        return await _page(visit.api, integration, name, {})

    return await visit.show(build)


@router.post("/{integration}/{name}")
async def call_action(visit: Visitor, integration: str, name: str) -> Response:
    """Call an action and show what it returned."""
    form = await visit.form()
    connection_id = form.get("connection_id", "")
    script = await _action(visit.api, integration, name)
    result: Mapping[str, Any]
    try:
        headers = {"connection-id": connection_id, "provider-config-key": integration}
        body = {"action_name": name, "input": input_of(script, form)}
        output = await visit.api.call("POST", "/action/trigger", headers=headers, body=body)
        result = {"output": output}
    except InvalidFieldError as error:
        result = {"error": error.message, "code": error.code}
    except RefusedError as refusal:
        if refusal.status == 401:
            raise
        result = {"error": refusal.message, "code": refusal.code, "payload": refusal.payload}
    page = await _page(visit.api, integration, name, form, result)
    return await visit.show_once(page)


@router.post("/{integration}/{name}/{command}")
async def switch_action(visit: Visitor, integration: str, name: str, command: str) -> Response:
    """Disable an action, or enable it again."""
    await visit.form()
    is_off = command == "disable"
    body = {"provider_config_key": integration, "action_name": name}
    call = visit.api.call("POST", "/action/disable" if is_off else "/action/enable", body=body)
    done = "It cannot be called any more." if is_off else "It can be called again."
    return await visit.do(call, to=page_url("actions", integration, name), done=done)


async def _page(
    api: Api,
    integration: str,
    name: str,
    sent: Mapping[str, str],
    result: Mapping[str, Any] | None = None,
) -> Page:
    script, connections, runs = await asyncio.gather(
        _action(api, integration, name),
        api.get("/connections", {"integrationId": integration, "limit": 200}),
        _calls(api, integration, name),
    )
    values = {
        "script": script,
        "integration": integration,
        "name": name,
        "connections": [one["connection_id"] for one in connections["connections"]],
        "fields": form_of(script, sent),
        "sent": sent,
        "runs": runs,
        "result": result,
        "schema": json.dumps(script.get("json_schema"), indent=2),
    }
    is_busy = any(run["status"] == "running" for run in runs)
    return Page("action.html", f"{integration} / {name}", values, is_busy=is_busy)


async def _actions(api: Api, key: str) -> list[dict[str, Any]]:
    try:
        found = await api.get(
            path_of("integrations", key, "functions"), {"type": "action", "limit": _ACTIONS}
        )
    except RefusedError:
        return []
    actions: list[dict[str, Any]] = found["data"]
    return actions


async def _action(api: Api, integration: str, name: str) -> dict[str, Any]:
    path = path_of("integrations", integration, "functions", name)
    found = await api.get(path, {"type": "action"})
    script: dict[str, Any] = found["data"]
    return script


async def _calls(
    api: Api, integration: str | None = None, name: str | None = None
) -> list[dict[str, Any]]:
    query = {"kind": "action", "integration": integration, "script": name, "limit": _RUNS}
    try:
        found = await api.get("/runs", query)
    except RefusedError:
        return []
    runs: list[dict[str, Any]] = found["runs"]
    return runs
