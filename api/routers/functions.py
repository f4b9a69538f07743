"""What is deployed for an integration, script by script, under the newer name of functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Query, Response

from api.dependencies import Caller, Dependencies, Deps
from api.errors import ApiError, not_found_as_404
from api.schemas.functions import (
    FunctionAnswer,
    FunctionCode,
    FunctionList,
    FunctionView,
    Pagination,
)
from config.json_schema import model_definitions
from config.project import Action, Endpoint, Sync
from config.scripts import NamedScript, named_scripts
from perdure.db.environments import Environment
from perdure.scripts.bundle import ScriptKind, ScriptPlaces

__all__ = ["router"]

FunctionType: TypeAlias = Literal["sync", "action", "on-event"]

router = APIRouter(tags=["deployments"])

_TYPES: dict[ScriptKind, FunctionType] = {
    ScriptKind.SYNC: "sync",
    ScriptKind.ACTION: "action",
    ScriptKind.ON_EVENT: "on-event",
}


@router.get("/integrations/{unique_key}/functions", response_model_exclude_none=True)
async def list_functions(
    deps: Deps,
    caller: Caller,
    unique_key: str,
    *,
    type: FunctionType | None = None,
    search: str | None = None,
    page: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> FunctionList:
    """Return the scripts of an integration in the order of `nango.yaml`."""
    found = [
        script
        for script in await _scripts(deps, caller, unique_key, type)
        if search is None or search.lower() in script.name.lower()
    ]
    shown = found[page * limit : (page + 1) * limit]
    return FunctionList(
        data=await _views(deps, caller, shown),
        pagination=Pagination(total=len(found), page=page, limit=limit),
    )


@router.get("/integrations/{unique_key}/functions/{name}", response_model_exclude_none=True)
async def get_function(
    deps: Deps,
    caller: Caller,
    unique_key: str,
    name: str,
    type: FunctionType | None = None,
) -> FunctionAnswer:
    """Return a script; its type is needed where scripts of several types share the name."""
    script = await _only(deps, caller, unique_key, name, type)
    (view,) = await _views(deps, caller, [script])
    return FunctionAnswer(data=view)


@router.get("/integrations/{unique_key}/functions/{name}/code")
async def get_function_code(
    deps: Deps,
    caller: Caller,
    unique_key: str,
    name: str,
    type: FunctionType | None = None,
) -> FunctionCode:
    """Return the source of a script as it is deployed."""
    script = await _only(deps, caller, unique_key, name, type)
    bundle = caller.active_bundle
    files = (await deps.bundles.get(bundle)).files if bundle else {}
    path = script.path(ScriptPlaces(files))
    if path is None:
        raise _unknown(unique_key, name)
    return FunctionCode(type=_TYPES[script.kind], code=files[path])


@router.delete("/integrations/{unique_key}/functions/{name}", response_class=Response)
async def delete_function(
    deps: Deps,
    caller: Caller,
    unique_key: str,
    name: str,
    type: FunctionType | None = None,
) -> Response:
    """Refuse to delete a script: what is deployed is what `nango.yaml` says.

    Raises:
        ApiError: 409 `function_managed_by_deploy`.
    """
    script = await _only(deps, caller, unique_key, name, type)
    msg = f"Remove the {_TYPES[script.kind]} {name!r} from nango.yaml and deploy."
    raise ApiError(409, "function_managed_by_deploy", msg)


async def _scripts(
    deps: Dependencies, caller: Environment, unique_key: str, wanted: FunctionType | None
) -> list[NamedScript]:
    with not_found_as_404("not_found"):
        await deps.database.integrations.get(caller.id, unique_key)
    if caller.active_bundle is None:
        return []
    integration = (await deps.bundles.config(caller.active_bundle)).integration(unique_key)
    scripts = named_scripts(integration) if integration else ()
    return [script for script in scripts if wanted in (None, _TYPES[script.kind])]


async def _only(
    deps: Dependencies,
    caller: Environment,
    unique_key: str,
    name: str,
    wanted: FunctionType | None,
) -> NamedScript:
    found = [
        script for script in await _scripts(deps, caller, unique_key, wanted) if script.name == name
    ]
    if not found:
        raise _unknown(unique_key, name)
    types = list(dict.fromkeys(_TYPES[script.kind] for script in found))
    if len(types) > 1:
        msg = f"Several scripts are called {name!r}: say with `type` which one is meant."
        matches = [{"type": one, "name": name} for one in types]
        raise ApiError(409, "ambiguous_function", msg, payload={"matches": matches})
    return found[0]


async def _views(
    deps: Dependencies, caller: Environment, scripts: Sequence[NamedScript]
) -> list[FunctionView]:
    if caller.active_bundle is None or not scripts:
        return []
    config = await deps.bundles.config(caller.active_bundle)
    disabled = await deps.database.actions.disabled(caller.id)
    deployment = await deps.database.bundles.latest(caller.id)
    definitions = model_definitions(config)
    return [
        FunctionView(
            **_facts(script, definitions),
            enabled=(script.integration, script.name) not in disabled
            or script.kind is not ScriptKind.ACTION,
            last_deployed=deployment.created_at if deployment else None,
            bundle=caller.active_bundle,
        )
        for script in scripts
    ]


def _facts(script: NamedScript, definitions: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"type": _TYPES[script.kind], "name": script.name}
    declared = script.declared
    if declared is None:
        return facts | {"event": script.event}
    facts |= {
        "description": declared.description,
        "scopes": list(declared.scopes),
        "input": declared.input,
        "returns": list(declared.output),
        "endpoints": [f"{one.method} {one.path}" for one in _endpoints(declared)],
        "json_schema": {"definitions": {name: definitions[name] for name in declared.used_models}},
    }
    if isinstance(declared, Sync):
        facts |= {
            "runs": declared.runs,
            "auto_start": declared.auto_start,
            "track_deletes": declared.track_deletes,
        }
    return facts


def _endpoints(declared: Sync | Action) -> Sequence[Endpoint]:
    if isinstance(declared, Sync):
        return declared.endpoints
    return [declared.endpoint] if declared.endpoint else []


def _unknown(unique_key: str, name: str) -> ApiError:
    msg = f"The integration {unique_key!r} has no script {name!r} of this type."
    return ApiError(404, "not_found", msg)
