"""The way of an end user to a provider's consent page and back.

A state is good once, belongs to a connect session, and only the browser that left with it can come
back with it: a cookie of its own says so. What goes wrong is told on a plain page.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import structlog
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import JsonValue

from api.connect_access import (
    EndUserAccess,
    TokenQuery,
    access_of,
    client_override,
    config_of,
    connect_for,
    known_integration,
    open_session,
    public_url,
    said_config,
)
from api.connect_pages import failure_page, success_page
from api.connecting import auth_target
from api.dependencies import Dependencies, Deps
from api.errors import ApiError
from perdure.auth.oauth1 import RequestToken
from perdure.auth.oauth2 import kept_metadata
from perdure.auth.target import AuthTarget
from perdure.auth.tokens import TokenClient
from perdure.connections.credentials import (
    AppCredentials,
    ClientOverride,
    Credentials,
    OAuth1Credentials,
    OAuth2Credentials,
    reveal_credentials,
)
from perdure.db.connections import Connection
from perdure.db.integrations import Integration
from perdure.db.oauth_states import STATE_TTL, OAuthState
from perdure.errors import InvalidInputError, PerdureError
from perdure.providers.inputs import InputField
from perdure.providers.provider import AuthMode, Provider

__all__ = ["router"]

_CALLBACK = "/oauth/callback"
_APP_CALLBACK = "/app-auth/connect"
_COOKIE = "perdure_oauth_"
_RESERVED = frozenset(
    {
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "oauth_token",
        "oauth_callback",
    }
)
_INSTALLATION = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ANYTHING = InputField()
_SAFE_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer"}

router = APIRouter(include_in_schema=False)

log = structlog.get_logger(__name__)


@router.get("/oauth/connect/{unique_key}")
async def leave(
    request: Request,
    deps: Deps,
    unique_key: str,
    *,
    connect_session_token: TokenQuery = None,
    user_scope: str | None = None,
    ws_client_id: UUID | None = None,
) -> Response:
    """Send an end user to the provider's consent page."""
    told: UUID | None = None
    try:
        guest = await open_session(request, deps, connect_session_token)
        # Strangers leave nothing in the database.
        told = ws_client_id
        integration, provider = await known_integration(deps, guest, unique_key)
        config = config_of(guest, integration, provider, _fields(request, "params"))
        own = client_override(_fields(request, "credentials"))
        target = _with_client(await auth_target(deps, integration, provider, config), own)
        state, cookie = deps.database.oauth_states.new_state(), secrets.token_urlsafe(32)
        callback = f"{public_url(request, deps)}{_CALLBACK}"
        flow: dict[str, JsonValue] = {
            "redirect_uri": callback,
            "connection_config": config,
            "client": dict(own) if own else None,
            "cookie": _hash(cookie),
            "ws_client_id": str(ws_client_id) if ws_client_id else None,
        }
        params = _extra_params(request, guest, integration, user_scope)
        url = await _consent_url(deps, target, state, flow, params)
        await deps.database.oauth_states.create(
            state, session_id=guest.session.id, integration_id=integration.id, flow=flow
        )
    except PerdureError as error:
        return await _failed(deps, error, unique_key, told)
    answer = RedirectResponse(url, status_code=302, headers=_SAFE_HEADERS)
    answer.set_cookie(
        _cookie_name(request, deps, state),
        cookie,
        max_age=int(STATE_TTL.total_seconds()),
        secure=_is_https(request, deps),
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get(_CALLBACK)
@router.get(_APP_CALLBACK)
async def come_back(
    request: Request, deps: Deps, state: Annotated[str, Query(max_length=500)] = ""
) -> Response:
    """Take an end user back from the consent page, and connect the account."""
    client_id: UUID | None = None
    unique_key = ""
    try:
        taken = await deps.database.oauth_states.take(state)
        flow = taken.flow
        client_id = UUID(flow["ws_client_id"]) if flow.get("ws_client_id") else None
        if not _is_same_browser(request, deps, state, flow["cookie"]):
            msg = "This sign-in was begun in another browser. Begin it again in this one."
            raise InvalidInputError(msg, code="state_cookie_mismatch")
        integration = await deps.database.integrations.by_id(taken.integration_id)
        unique_key = integration.unique_key
        connection = await _connected(request, deps, taken, integration)
    except PerdureError as error:
        answer = await _failed(deps, error, unique_key, client_id)
    else:
        result = {"provider_config_key": unique_key, "connection_id": connection.connection_id}
        if client_id is not None:
            told = {"message_type": "success", "is_pending": False, **result}
            await deps.database.connect_sessions.save_result(client_id, told)
        answer = success_page(unique_key, connection.connection_id)
    answer.delete_cookie(
        _cookie_name(request, deps, state), secure=_is_https(request, deps), httponly=True
    )
    return answer


async def _consent_url(
    deps: Dependencies,
    target: AuthTarget,
    state: str,
    flow: dict[str, JsonValue],
    params: Mapping[str, str | None],
) -> str:
    """Return where the end user is sent, and note in `flow` what is needed afterwards."""
    client = TokenClient(deps.transport)
    match target.provider.auth_mode:
        case AuthMode.OAUTH2:
            verifier = secrets.token_urlsafe(48)
            flow["code_verifier"] = None if target.provider.disable_pkce else verifier
            return client.authorization_url(
                target,
                state=state,
                redirect_uri=str(flow["redirect_uri"]),
                code_challenge=str(create_s256_code_challenge(verifier)),  # type: ignore[no-untyped-call]
                params=params,
            )
        case AuthMode.OAUTH1:
            callback = f"{flow['redirect_uri']}?state={state}"
            token = await client.request_token(target, callback)
            flow["request_token"] = {"token": token.token, "secret": token.secret}
            return client.consent_url(target, token, params)
        case AuthMode.APP:
            if not target.client.app_link:
                msg = "The integration has no app_link: set it to the app's public page."
                raise InvalidInputError(msg, code="incomplete_integration")
            if target.provider.authorization_url is None:
                return f"{target.client.app_link.rstrip('/')}/installations/new?state={state}"
            return client.authorization_url(
                target, state=state, redirect_uri="", code_challenge=None, params=params
            )
        case mode:
            msg = f"{target.provider.display_name} connects by {mode}, which has no consent page."
            raise InvalidInputError(msg, code="unsupported_auth_mode")


async def _connected(
    request: Request, deps: Dependencies, taken: OAuthState, integration: Integration
) -> Connection:
    session = await deps.database.connect_sessions.by_id(taken.session_id)
    if session is None:
        msg = "The connect session has ended. Begin again with a new one."
        raise InvalidInputError(msg, code="unknown_connect_session")
    guest = await access_of(deps, session)
    provider = deps.catalog.get(integration.provider)
    config: dict[str, JsonValue] = dict(taken.flow["connection_config"])
    own = taken.flow.get("client")
    target = _with_client(await auth_target(deps, integration, provider, config), own)
    back = _callback_config(request, provider)
    credentials = await _credentials(request, deps, target, taken.flow)
    if own and isinstance(credentials, OAuth2Credentials):
        override = ClientOverride.model_validate(own)
        credentials = credentials.model_copy(update={"config_override": override})
    if isinstance(credentials, AppCredentials):
        await _refuse_foreign(deps, guest, integration, credentials.installation_id)
    config |= back | _granted_config(provider, credentials) | said_config(guest, integration)
    return await connect_for(deps, guest, integration, credentials, config)


async def _refuse_foreign(
    deps: Dependencies, guest: EndUserAccess, integration: Integration, installation: str
) -> None:
    """Refuse an installation that only others have connected.

    Its id comes from the browser, and the app's key opens every installation there is.

    Raises:
        ApiError: 409 `installation_already_connected`.
    """
    if said_config(guest, integration).get("installation_id") == installation:
        return
    wanted = {"installation_id": installation}
    found = await deps.database.connections.with_config(integration.id, wanted)
    if found and not any(guest.owns(connection) for connection in found):
        msg = "This installation of the app is connected for somebody else already."
        raise ApiError(409, "installation_already_connected", msg)


def _with_client(target: AuthTarget, own: Mapping[str, str] | None) -> AuthTarget:
    """Return a target with the client that an account brings along, where it does."""
    if not own or target.provider.auth_mode is not AuthMode.OAUTH2:
        return target
    client = replace(target.client, client_id=own["client_id"], client_secret=own["client_secret"])
    return replace(target, client=client)


async def _credentials(
    request: Request, deps: Dependencies, target: AuthTarget, flow: Mapping[str, Any]
) -> Credentials:
    query = request.query_params
    if error := query.get("error") or query.get("denied"):
        told = query.get("error_description") or error
        msg = f"{target.provider.display_name} did not agree: {told[:300]}"
        raise ApiError(400, "provider_refused", msg)
    client = TokenClient(deps.transport)
    match target.provider.auth_mode:
        case AuthMode.OAUTH2:
            credentials, _ = await client.exchange_code(
                target,
                code=_asked(query, target.provider.authorization_code_param_in_callback or "code"),
                redirect_uri=flow["redirect_uri"],
                code_verifier=flow.get("code_verifier"),
            )
            return credentials
        case AuthMode.OAUTH1:
            token = RequestToken(**flow["request_token"])
            given = _asked(query, "oauth_token")
            if not hmac.compare_digest(given.encode(), token.token.encode()):
                msg = "The provider sent back another token than it gave."
                raise InvalidInputError(msg, code="invalid_state")
            return await client.access_token(target, token, _asked(query, "oauth_verifier"))
        case _:
            if query.get("setup_action") == "request":
                msg = "The app was requested. Connect it again once its owner has agreed."
                raise ApiError(400, "installation_pending", msg)
            installation = _asked(query, "installation_id")
            if not _INSTALLATION.fullmatch(installation):
                raise _invalid_callback(target.provider, "installation_id", "has another form")
            return AppCredentials(installation_id=installation)


def _callback_config(request: Request, provider: Provider) -> dict[str, JsonValue]:
    """Return what the entry keeps of the callback, which comes from a browser.

    Raises:
        InvalidInputError: `invalid_callback`, something has not the form that the entry asks for.
    """
    kept = kept_metadata(provider.redirect_uri_metadata, dict(request.query_params))
    for name, value in kept.items():
        field = provider.connection_config.get(name, _ANYTHING)
        if told := field.fault(value):
            raise _invalid_callback(provider, name, told)
    return kept


def _granted_config(provider: Provider, credentials: Credentials) -> dict[str, JsonValue]:
    """Return what the entry keeps of the token's answer."""
    kept: dict[str, JsonValue] = {}
    if isinstance(credentials, OAuth1Credentials | OAuth2Credentials):
        raw = reveal_credentials(credentials).get("raw")
        if isinstance(raw, dict):
            kept |= kept_metadata(provider.token_response_metadata, raw)
    if isinstance(credentials, AppCredentials):
        kept["installation_id"] = credentials.installation_id
    return kept


def _invalid_callback(provider: Provider, name: str, told: str) -> InvalidInputError:
    msg = f"{provider.display_name} sent you back with a {name!r} that {told}."
    return InvalidInputError(msg, code="invalid_callback")


def _asked(query: Mapping[str, str], name: str) -> str:
    value = query.get(name)
    if not value:
        msg = f"The provider sent nobody back with {name!r}."
        raise InvalidInputError(msg, code="incomplete_callback")
    return value


def _extra_params(
    request: Request, guest: EndUserAccess, integration: Integration, user_scope: str | None
) -> dict[str, str | None]:
    """Return what is added to the address of the consent page; what we set is not overridden."""
    defaults = guest.session.defaults(integration.unique_key)
    scopes = defaults.get("user_scopes") or user_scope
    params: dict[str, str | None] = {"user_scope": scopes} if scopes else {}
    params |= _fields(request, "authorization_params")
    params |= defaults.get("authorization_params") or {}
    return {name: value for name, value in params.items() if name not in _RESERVED}


def _fields(request: Request, name: str) -> dict[str, str]:
    """Return `name[key]=value` of the query by key."""
    start = f"{name}["
    return {
        key.removeprefix(start)[:-1]: value
        for key, value in request.query_params.items()
        if key.startswith(start) and key.endswith("]")
    }


async def _failed(
    deps: Dependencies, error: PerdureError, unique_key: str, client_id: UUID | None
) -> Response:
    log.info("account_not_connected", integration=unique_key, code=error.code)
    if client_id is not None:
        told = {
            "message_type": "error",
            "provider_config_key": unique_key,
            "connection_id": "",
            "error_type": error.code,
            "error_desc": error.message,
        }
        await deps.database.connect_sessions.save_result(client_id, told)
    return failure_page(error)


def _is_same_browser(request: Request, deps: Dependencies, state: str, expected: str) -> bool:
    cookie = request.cookies.get(_cookie_name(request, deps, state), "")
    return hmac.compare_digest(_hash(cookie), expected)


def _is_https(request: Request, deps: Dependencies) -> bool:
    return public_url(request, deps).startswith("https:")


def _cookie_name(request: Request, deps: Dependencies, state: str) -> str:
    # Of this name browsers take a cookie from this host only, and not from its neighbours.
    prefix = "__Host-" if _is_https(request, deps) else ""
    return prefix + _COOKIE + hashlib.sha256(state.encode()).hexdigest()[:16]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
