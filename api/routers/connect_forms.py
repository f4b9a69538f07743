"""Accounts whose credentials an end user types in, sent as JSON by a page of the application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from api.connect_access import Guest, client_override, config_of, connect_for, known_integration
from api.dependencies import Deps
from api.schemas.connect import ConnectedAccount
from perdure.connections.credentials import parse_credentials
from perdure.errors import FieldError, InvalidInputError
from perdure.providers.inputs import InputField
from perdure.providers.provider import AuthMode, Provider

__all__ = ["router", "typed_credentials"]

_OF_ENTRY = (AuthMode.JWT, AuthMode.TWO_STEP)
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
    credentials = parse_credentials(typed_credentials(provider, fields), path=())
    connection = await connect_for(deps, guest, integration, credentials, config)
    return ConnectedAccount(connectionId=connection.connection_id, providerConfigKey=unique_key)


for _path in _MODES:
    router.add_api_route(f"/{_path}/{{unique_key}}", connect, methods=["POST"])


def typed_credentials(provider: Provider, fields: dict[str, Any]) -> dict[str, Any]:
    """Return credentials as they are read, from the fields of a form.

    Where only the entry says what the fields are, others are left out.

    Args:
        provider: Entry of the provider.
        fields: As clients of the API name them.

    Raises:
        InvalidInputError: A field is missing, or not of the form that the entry asks for.
    """
    mode = provider.auth_mode
    nested = fields.pop("credentials", None)
    given = {**fields, **(nested if isinstance(nested, dict) else {})}
    if mode is AuthMode.API_KEY and "api_key" in given:
        given["apiKey"] = given.pop("api_key")
    asked = {name: field for name, field in provider.credentials.items() if not field.automated}
    is_of_entry = mode in _OF_ENTRY and bool(asked)
    if is_of_entry:
        stated = {name: field.default_value for name, field in asked.items()}
        given = {name: given.get(name) or stated[name] for name in asked}
        given = {name: value for name, value in given.items() if value not in (None, "")}
    errors = []
    for name, field in asked.items():
        if name in given:
            told = _fault(mode, field, given[name])
        else:
            told = "is missing" if is_of_entry and field.is_required else None
        if told is not None:
            errors.append(FieldError("invalid_value", f"It {told}.", (name,)))
    if errors:
        told = "; ".join(f"{error.path[0]}: {error.message}" for error in errors)
        raise InvalidInputError(
            f"Not everything is filled in as it should be. {told}", errors=errors
        )
    if mode is AuthMode.TBA and (client := client_override(given)):
        given["config_override"] = client
    return {**given, "type": mode.value}


def _fault(mode: AuthMode, field: InputField, value: object) -> str | None:
    if isinstance(value, Mapping) and mode is AuthMode.JWT:
        # Keys that have several parts come in parts.
        return next((f for part in value.values() if (f := _fault(mode, InputField(), part))), None)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "has to be text"
    text = str(value)
    # An empty one is for the reader of credentials to refuse, where it has to be there.
    return field.fault(text) if text else None
