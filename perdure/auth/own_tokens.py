"""Tokens that are made here and not asked for: JWTs, and statements of WSSE.

Also the JWT by which an app shows who it is when it asks for a token of an installation.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue, SecretStr

from perdure.auth.endpoint import TokenRequest
from perdure.auth.errors import TokenError
from perdure.auth.keys import SigningKey, asymmetric_key, hmac_key, sign_jwt
from perdure.auth.target import AuthTarget, filled_url
from perdure.connections.credentials import (
    AppCredentials,
    JwtCredentials,
    SignatureCredentials,
    TwoStepCredentials,
    reveal_credentials,
)
from perdure.connections.interpolation import TemplateVariables, interpolate, interpolate_json
from perdure.providers.provider import AuthMode, Provider
from perdure.providers.tokens import JwtToken, Signature

__all__ = ["app_request", "assertion", "made_jwt", "made_signature", "password_digest"]

_KINDS = {"RSA": "RS256", "EC": "ES256", "HMAC": "HS256"}
_APP_TOKEN = timedelta(minutes=9)
"""A minute less than is allowed, because clocks differ."""

_CLOCKS_DIFFER = timedelta(seconds=30)


def made_jwt(target: AuthTarget, credentials: JwtCredentials, now: datetime) -> JwtCredentials:
    """Return credentials with a new token.

    Raises:
        TokenError: Lasting, if the entry does not say how, or the key is no such key.
    """
    provider = target.provider
    if provider.token is None or provider.signature is None:
        raise _incomplete(provider, "token and signature")
    variables = _variables(target, credentials, now)
    token = _signed(provider, provider.signature, provider.token, variables, now)
    expires_at = now + timedelta(milliseconds=provider.token.expires_in_ms)
    return credentials.model_copy(update={"token": SecretStr(token), "expires_at": expires_at})


def assertion(target: AuthTarget, credentials: TwoStepCredentials, now: datetime) -> str | None:
    """Return the signed statement that goes along with a token request, None where none does.

    The entry's `assertion` has the fields `signature` and `token` of a JWT provider.

    Raises:
        TokenError: Lasting, if the entry asks for something else than a JWT.
    """
    stated = target.provider.assertion
    if stated is None:
        return None
    if not isinstance(stated.get("token"), dict):
        raise TokenError(
            f"{target.provider.display_name} asks for an assertion that is no JWT, which cannot "
            "be made.",
            lasting=True,
            code="unsupported_auth",
        )
    signature = Signature.model_validate(stated.get("signature") or {"protocol": "RSA"})
    token = JwtToken.model_validate(stated["token"])
    return _signed(target.provider, signature, token, _variables(target, credentials, now), now)


def made_signature(
    target: AuthTarget, credentials: SignatureCredentials, now: datetime
) -> SignatureCredentials:
    """Return credentials with a new WSSE statement.

    Raises:
        TokenError: Lasting, if the entry asks for another protocol.
    """
    provider = target.provider
    signature = provider.signature
    if signature is None or signature.protocol != "WSSE":
        raise _incomplete(provider, "signature with the protocol WSSE")
    created = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    nonce = secrets.token_hex(16)
    digest = password_digest(nonce, created, credentials.password.get_secret_value())
    token = (
        f'UsernameToken Username="{credentials.username}", PasswordDigest="{digest}", '
        f'Nonce="{nonce}", Created="{created}"'
    )
    lasts = provider.token.expires_in_ms if provider.token else 300_000
    return credentials.model_copy(
        update={"token": SecretStr(token), "expires_at": now + timedelta(milliseconds=lasts)}
    )


def password_digest(nonce: str, created: str, password: str) -> str:
    """Return the digest of WSSE as web APIs take it: base64 of the SHA-1 in hexadecimal digits."""
    # The protocol is what it is; nothing here rests on collisions.
    hashed = hashlib.sha1(f"{nonce}{created}{password}".encode(), usedforsecurity=False)
    return base64.b64encode(hashed.hexdigest().encode("ascii")).decode("ascii")


def app_jwt(target: AuthTarget, credentials: AppCredentials, now: datetime) -> str:
    """Return what an app shows who it is with, made from its key; good for some minutes.

    Raises:
        TokenError: Lasting, if the integration has no app, or its key is no key.
    """
    client = target.client
    app_id = credentials.app_id or client.app_id
    if not app_id or not client.private_key:
        raise TokenError(
            f"The integration of {target.provider.display_name} has no app_id and private_key.",
            lasting=True,
            code="missing_client",
        )
    claims = {
        "iss": app_id,
        "iat": int((now - 2 * _CLOCKS_DIFFER).timestamp()),
        "exp": int((now + _APP_TOKEN).timestamp()),
    }
    return sign_jwt(asymmetric_key(client.private_key), {}, claims)


def app_request(target: AuthTarget, credentials: AppCredentials, now: datetime) -> TokenRequest:
    """Return the request for a token of an app's installation.

    Raises:
        TokenError: Lasting, if the integration has no app, or its key is no key.
    """
    token = app_jwt(target, credentials, now)
    app_id = credentials.app_id or target.client.app_id
    known: dict[str, JsonValue] = {"installation_id": credentials.installation_id}
    with_installation = AuthTarget(
        provider=target.provider,
        client=target.client,
        connection_config={**known, "app_id": app_id, **target.connection_config},
        integration_config=target.integration_config,
    )
    variables = with_installation.variables(credentials)
    url = filled_url(
        target.provider.token_url_for(AuthMode.APP), with_installation, variables, "token_url"
    )
    return TokenRequest(
        url=url,
        params={},
        headers={"authorization": f"Bearer {token}"},
        body_format="json",
    )


def _signed(
    provider: Provider,
    signature: Signature,
    token: JwtToken,
    variables: TemplateVariables,
    now: datetime,
) -> str:
    template = token.signing_key or "${credentials.privateKey}"
    secret = interpolate(template, variables)
    if secret is None:
        raise TokenError(
            f"The connection of {provider.display_name} has no key to sign with.",
            lasting=True,
            code="invalid_credentials",
        )
    key: SigningKey
    if signature.protocol == "HMAC":
        key = hmac_key(secret, signature.hmac_secret_encoding)
    else:
        key = asymmetric_key(secret)
    header = _filled(token.header, variables)
    issued = int(now.timestamp())
    claims = {
        "iat": issued,
        "exp": issued + max(1, token.expires_in_ms // 1000),
        **_filled(token.payload, variables),
    }
    if signature.protocol == "RSA":
        header.setdefault("alg", _KINDS["RSA"])
    return sign_jwt(key, header, claims)


def _variables(
    target: AuthTarget, credentials: JwtCredentials | TwoStepCredentials, now: datetime
) -> TemplateVariables:
    revealed = reveal_credentials(credentials)
    # Some providers show a key as `id:secret`, in one piece.
    halves: dict[str, JsonValue] = {
        name: {"id": value.partition(":")[0], "secret": value.partition(":")[2]}
        for name, value in revealed.items()
        if isinstance(value, str) and value.count(":") == 1 and "-----" not in value
    }
    named = _templates_below(target.provider, halves)
    return target.variables(credentials, now=now, further=named)


def _templates_below(provider: Provider, halves: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return those halves that the entry asks for one by one; whole values stay whole."""
    stated = f"{provider.token.model_dump() if provider.token else ''}{provider.assertion or ''}"
    return {name: value for name, value in halves.items() if f"credentials.{name}." in stated}


def _filled(params: Mapping[str, JsonValue], variables: TemplateVariables) -> dict[str, Any]:
    filled = interpolate_json(dict(params), variables)
    return filled if isinstance(filled, dict) else {}


def _incomplete(provider: Provider, what: str) -> TokenError:
    return TokenError(
        f"The entry of the provider {provider.name!r} has no {what}.",
        lasting=True,
        code="incomplete_provider",
    )
