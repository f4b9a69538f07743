"""What is deployed, for programs: scripts with their models, or actions as tools."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from fastapi import APIRouter, Response

from api.action_tools import action_tools
from api.dependencies import Caller, Deps
from config.json_schema import model_definitions
from config.project import Action, Endpoint, Event, Integration, NangoConfig, Sync
from perdure.records.canonical import to_json

__all__ = ["router"]

_EVENTS: tuple[Event, ...] = get_args(Event)

router = APIRouter(tags=["deployments"])


@router.get(
    "/scripts/config",
    response_class=Response,
    responses={200: {"description": "The scripts.", "content": {"application/json": {}}}},
)
async def get_scripts_config(
    deps: Deps,
    caller: Caller,
    format: Literal["nango", "openai"] = "nango",  # noqa: A002 - Nango's name
) -> Response:
    """Return what is deployed: `openai` gives the actions as functions of a language model."""
    bundle = caller.active_bundle
    config = await deps.bundles.config(bundle) if bundle else NangoConfig("v2", (), ())
    disabled = await deps.database.actions.disabled(caller.id)
    if format == "openai":
        tools = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for integration in config.integrations
            for tool in action_tools(config, integration)
            if (integration.key, tool.name) not in disabled
        ]
        return Response(to_json({"data": tools}), media_type="application/json")
    deployment = await deps.database.bundles.latest(caller.id)
    providers = {
        known.unique_key: known.provider
        for known in await deps.database.integrations.list(caller.id)
    }
    shown = [
        _integration(
            config,
            integration,
            provider=providers.get(integration.key),
            deployed_at=deployment.created_at if deployment else None,
            disabled=disabled,
        )
        for integration in config.integrations
    ]
    return Response(to_json(shown), media_type="application/json")


def _integration(
    config: NangoConfig,
    integration: Integration,
    *,
    provider: str | None,
    deployed_at: datetime | None,
    disabled: frozenset[tuple[str, str]],
) -> dict[str, Any]:
    definitions = model_definitions(config)
    common: dict[str, Any] = {
        "last_deployed": deployed_at.isoformat() if deployed_at else None,
        "id": None,
        "sdk_version": None,
        "features": [],
        "metadata": {},
    }

    def script(item: Sync | Action) -> dict[str, Any]:
        models = {name: definitions[name] for name in item.used_models}
        own: dict[str, Any] = {
            "name": item.name,
            "description": item.description,
            "scopes": list(item.scopes),
            "metadata": {"description": item.description, "scopes": list(item.scopes)},
            "returns": list(item.output),
            "version": str(item.version),
            "input": item.input,
            "json_schema": {"definitions": models} if models else None,
        }
        return common | own

    return {
        "providerConfigKey": integration.key,
        "provider": provider,
        "syncs": [
            script(sync)
            | {
                "type": "sync",
                "runs": sync.runs,
                "auto_start": sync.auto_start,
                "track_deletes": sync.track_deletes,
                "sync_type": sync.sync_type,
                "endpoints": [_endpoint(endpoint) for endpoint in sync.endpoints],
                "webhookSubscriptions": list(sync.webhook_subscriptions),
                "enabled": True,
            }
            for sync in integration.syncs
        ],
        "actions": [
            script(action)
            | {
                "type": "action",
                "runs": None,
                "auto_start": False,
                "track_deletes": False,
                "sync_type": None,
                "endpoints": [_endpoint(action.endpoint)] if action.endpoint else [],
                "webhookSubscriptions": [],
                "enabled": (integration.key, action.name) not in disabled,
            }
            for action in integration.actions
        ],
        "on-events": [
            common | {"name": name, "type": "on-event", "event": event}
            for event in _EVENTS
            for name in integration.event_scripts(event)
        ],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, str | None]:
    return {"method": endpoint.method, "path": endpoint.path, "group": endpoint.group}
