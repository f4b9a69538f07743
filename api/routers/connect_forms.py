"""Accounts whose credentials an end user types in, sent as JSON by a page of the application."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from api.connect_access import Guest, config_of, connect_for, known_integration
from api.dependencies import Deps
from api.schemas.connect import ConnectedAccount
from perdure.connections.credentials import parse_credentials
from perdure.errors import FieldError, InvalidInputError
from perdure.providers.provider import AuthMode

__all__ = ["router", "typed_credentials"]

_MODES = {
    "api-auth/api-key": AuthMode.API_KEY,
    "api-auth/basic": AuthMode.BASIC,
    "oauth2/auth": AuthMode.OAUTH2_CC,
    "auth/oauth2-cc": AuthMode.OAUTH2_CC,
    "auth/tba": AuthMode.TBA,
    "auth/two-step": AuthMode.TWO_STEP,
    "auth/jwt": AuthMode.JWT,
    "auth/signature": AuthMode.SIGNATURE,
    "auth/unauthenticated": AuthMode.NONE,
}

router = APIRouter(tags=["connect"], include_in_schema=False)


async def connect(
    request: Request,
    deps: Deps,
    guest: Guest,
    unique_key: str,
    given: Annotated[dict[str, Any] | None, Body()] = None,
) -> ConnectedAccount:
    """Connect an account with credentials that were typed in."""
    integration, provider = await known_integration(deps, guest, unique_key)
    path = request.scope["route"].path.rpartition("/")[0].removeprefix("/")
    mode = _MODES[path]
    if provider.auth_mode != mode:
        msg = f"{provider.display_name} connections authenticate with {provider.auth_mode}."
        raise InvalidInputError(
            msg, errors=[FieldError("invalid_auth_mode", msg, ("provider_config_key",))]
        )
    fields = dict(given or {})
    params = fields.pop("params", None)
    query = {
        key.removeprefix("params[")[:-1]: value
        for key, value in request.query_params.items()
        if key.startswith("params[") and key.endswith("]")
    }
    config = config_of(
        guest, integration, provider, {**query, **(params if isinstance(params, dict) else {})}
    )
    credentials = parse_credentials(typed_credentials(mode, fields), path=())
    connection = await connect_for(deps, guest, integration, credentials, config)
    return ConnectedAccount(connectionId=connection.connection_id, providerConfigKey=unique_key)


for _path in _MODES:
    router.add_api_route(f"/{_path}/{{unique_key}}", connect, methods=["POST"])


def typed_credentials(mode: AuthMode, fields: dict[str, Any]) -> dict[str, Any]:
    """Return credentials as they are read, from the fields of a form.

    Args:
        mode: How the provider authenticates.
        fields: As clients of the API name them.
    """
    nested = fields.pop("credentials", None)
    if isinstance(nested, dict):
        fields |= nested
    return {**fields, "type": mode.value}
