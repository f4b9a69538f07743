"""OAuth 2: the address of the consent page, and the requests for tokens.

Everything here is pure; `perdure.auth.tokens` sends what is made here.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from perdure.auth.answers import Granted
from perdure.auth.endpoint import TokenRequest
from perdure.auth.errors import TokenError
from perdure.auth.keys import algorithm_of, asymmetric_key
from perdure.auth.target import AuthTarget, filled_url
from perdure.connections.client_credentials import ClientCredentials
from perdure.connections.credentials import (
    OAuth2ClientCredentials,
    OAuth2Credentials,
    reveal_credentials,
)
from perdure.connections.interpolation import TemplateVariables, interpolate, interpolate_json
from perdure.providers.provider import AuthMode, Provider
from perdure.proxy.json_path import MISSING, lookup
from perdure.proxy.urls import add_query

__all__ = [
    "authorization_url",
    "client_credentials_request",
    "code_request",
    "granted_client",
    "granted_credentials",
    "kept_metadata",
    "refresh_request",
    "refreshed_credentials",
]

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def authorization_url(
    target: AuthTarget,
    *,
    state: str,
    redirect_uri: str,
    code_challenge: str | None,
    scopes: Sequence[str] | None = None,
    params: Mapping[str, str | None] | None = None,
) -> str:
    """Return where people are sent to consent, or to install an app.

    Args:
        target: For whom.
        state: Comes back with the code, or with the installation.
        redirect_uri: Where they come back to.
        code_challenge: Of PKCE, by S256; left out where the provider takes none.
        scopes: What is asked for; what `AuthTarget.scopes` says if None.
        params: Further parameters of the address, over all others; None leaves one out.

    Raises:
        TokenError: Lasting, if the entry has no address or the connection lacks a parameter.
    """
    provider = target.provider
    variables = target.variables()
    url = filled_url(provider.authorization_url, target, variables, "authorization_url")
    asked = target.scopes() if scopes is None else scopes
    query: dict[str, str | None] = {"state": state}
    # An app is known by its page, and states itself what it asks for and where people come back to.
    if provider.auth_mode is not AuthMode.APP:
        query = {
            "response_type": "code",
            "client_id": target.client.client_id,
            "redirect_uri": redirect_uri,
            "scope": provider.scope_separator.join(asked) if asked else None,
            "state": state,
        }
        if code_challenge and not provider.disable_pkce:
            query |= {"code_challenge": code_challenge, "code_challenge_method": "S256"}
    query |= {
        name: interpolate(template, variables)
        for name, template in provider.authorization_params.items()
    }
    query |= params or {}
    sent = {
        name: value
        for name, value in query.items()
        if value is not None and not (provider.authorization_url_skip_empty and not value)
    }
    skipped = provider.authorization_url_skip_encode
    fragment = provider.authorization_url_fragment
    # An application of one page takes what is behind the fragment for its address.
    whole = _with_query(f"{url}#{fragment}" if fragment else url, sent, skipped)
    for text, replacement in provider.authorization_url_replacements.items():
        whole = whole.replace(text, replacement)
    return whole


def code_request(
    target: AuthTarget, *, code: str, redirect_uri: str, code_verifier: str | None
) -> TokenRequest:
    """Return the request that turns a code into tokens.

    Raises:
        TokenError: Lasting, if the entry or the connection lacks something.
    """
    provider, variables = target.provider, target.variables()
    params: dict[str, JsonValue] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        **_filled(provider.token_params, variables),
    }
    if code_verifier and not provider.disable_pkce:
        params["code_verifier"] = code_verifier
    url = filled_url(provider.token_url_for(AuthMode.OAUTH2), target, variables, "token_url")
    return _as_client(target, _request(provider, url, params, variables))


def refresh_request(target: AuthTarget, credentials: OAuth2Credentials) -> TokenRequest:
    """Return the request that refreshes tokens.

    Raises:
        TokenError: Lasting, if there is no refresh token, or the entry or the connection lacks
            something.
    """
    if credentials.refresh_token is None:
        raise TokenError(
            "The connection has no refresh token; its account has to be connected again.",
            lasting=True,
            code="missing_refresh_token",
        )
    target = target.for_credentials(credentials)
    provider, variables = target.provider, target.variables(credentials)
    if provider.refresh_params is not None:
        own = _filled(provider.refresh_params, variables)
    else:
        own = _filled(provider.token_params, variables)
        own.pop("grant_type", None)
    params: dict[str, JsonValue] = {
        "grant_type": "refresh_token",
        "refresh_token": credentials.refresh_token.get_secret_value(),
        **own,
    }
    template = provider.refresh_url or provider.token_url_for(AuthMode.OAUTH2)
    url = filled_url(template, target, variables, "token_url")
    return _as_client(target, _request(provider, url, params, variables))


def client_credentials_request(
    target: AuthTarget, credentials: OAuth2ClientCredentials
) -> TokenRequest:
    """Return the request by which a client gets a token for itself.

    Raises:
        TokenError: Lasting, if the entry or the connection lacks something.
    """
    target = target.for_credentials(credentials)
    provider, variables = target.provider, target.variables(credentials)
    params: dict[str, JsonValue] = {"grant_type": "client_credentials"}
    if scopes := target.scopes():
        params["scope"] = provider.scope_separator.join(scopes)
    params |= _filled(provider.token_params, variables)
    url = filled_url(provider.token_url_for(AuthMode.OAUTH2_CC), target, variables, "token_url")
    return _as_client(target, _request(provider, url, params, variables))


def granted_credentials(granted: Granted) -> OAuth2Credentials:
    """Return the credentials of a new connection."""
    return OAuth2Credentials.model_validate(
        {
            "access_token": granted.token,
            "refresh_token": granted.refresh_token,
            "expires_at": granted.expires_at,
            "raw": granted.raw,
        }
    )


def refreshed_credentials(before: OAuth2Credentials, granted: Granted) -> OAuth2Credentials:
    """Return the credentials after a refresh; without a new refresh token the old one stays."""
    changed: dict[str, object] = {
        "access_token": granted.token,
        "expires_at": granted.expires_at,
        "raw": granted.raw,
    }
    if granted.refresh_token:
        changed["refresh_token"] = granted.refresh_token
    return OAuth2Credentials.model_validate({**reveal_credentials(before), **changed})


def granted_client(before: OAuth2ClientCredentials, granted: Granted) -> OAuth2ClientCredentials:
    """Return the credentials of a client after it got a token."""
    changed = {"token": granted.token, "expires_at": granted.expires_at, "raw": granted.raw}
    return OAuth2ClientCredentials.model_validate({**reveal_credentials(before), **changed})


def kept_metadata(names: Collection[str], answer: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return what of a callback's query or a token's answer is kept in `connection_config`.

    What was inside something stays inside it, where `${connectionConfig.team.id}` finds it.

    Args:
        names: Dotted paths, as `redirect_uri_metadata` and `token_response_metadata` list them.
        answer: The query, or the `raw` of the credentials.
    """
    kept: dict[str, JsonValue] = {}
    for name in names:
        if (value := lookup(dict(answer), name)) is MISSING:
            continue
        *outer, last = (name,) if name in answer else name.split(".")
        place = kept
        for part in outer:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            place = inner
        else:
            place[last] = value
    return kept


def basic(client: ClientCredentials) -> str:
    """Return the `Authorization` header of HTTP Basic."""
    pair = f"{client.client_id}:{client.client_secret}"
    return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"


def _as_client(target: AuthTarget, request: TokenRequest) -> TokenRequest:
    """Add what shows who the client is; what the entry words itself stays."""
    provider, client = target.provider, target.client
    if provider.require_client_certificate:
        raise TokenError(
            f"{provider.display_name} asks for a TLS certificate of the client, which cannot be "
            "sent.",
            lasting=True,
            code="unsupported_auth",
        )
    method = provider.token_request_auth_method
    shown: dict[str, JsonValue]
    if method == "custom":
        return request
    if method == "private_key_jwt":
        shown = {
            "client_id": client.client_id,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": _assertion(client, request.url),
        }
    elif method == "basic" or provider.authorization_method == "header":
        return replace(request, headers={"authorization": basic(client), **request.headers})
    else:
        shown = {"client_id": client.client_id}
        # A public client has none.
        if client.client_secret:
            shown["client_secret"] = client.client_secret
    return replace(request, params={**shown, **request.params})


def _assertion(client: ClientCredentials, url: str) -> str:
    # Few providers ask for it, and it brings all of authlib's OAuth 2 along.
    from authlib.oauth2.rfc7523 import private_key_jwt_sign

    key = asymmetric_key(client.private_key or client.client_secret)
    return private_key_jwt_sign(
        key,
        client_id=client.client_id,
        token_endpoint=url,
        alg=algorithm_of(key),
        expires_in=300,
        header={"kid": key.kid} if key.kid else None,
    )


def _request(
    provider: Provider,
    url: str,
    params: Mapping[str, JsonValue],
    variables: TemplateVariables,
) -> TokenRequest:
    headers = {
        name: text
        for name, template in provider.token_headers.items()
        if (text := interpolate(template, variables)) is not None
    }
    return TokenRequest(
        url=url,
        params=params,
        method=provider.token_request_method or "POST",
        headers=headers,
        body_format=provider.body_format or "form",
        skip_encode=provider.token_url_skip_encode,
    )


def _filled(params: Mapping[str, JsonValue], variables: TemplateVariables) -> dict[str, JsonValue]:
    filled = interpolate_json(dict(params), variables)
    return filled if isinstance(filled, dict) else {}


def _with_query(url: str, query: Mapping[str, str], skipped: Collection[str]) -> str:
    whole = add_query(url, [(n, v) for n, v in query.items() if n not in skipped])
    for name in skipped:
        if name in query:
            whole = f"{whole}{'&' if '?' in whole else '?'}{name}={query[name]}"
    return whole
