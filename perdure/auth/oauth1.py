"""OAuth 1.0: the temporary token, the address of the consent page, the token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from perdure.auth.answers import text_at
from perdure.auth.endpoint import TokenRequest, refusal
from perdure.auth.target import AuthTarget, filled_url
from perdure.connections.credentials import OAuth1Credentials
from perdure.connections.interpolation import interpolate, interpolate_json
from perdure.providers.provider import AuthMode
from perdure.proxy.oauth1 import OAuth1Signer
from perdure.proxy.redaction import Redactor
from perdure.proxy.urls import add_query

__all__ = [
    "RequestToken",
    "access_token_request",
    "consent_url",
    "granted",
    "granted_request_token",
    "request_token_request",
    "signer",
]


@dataclass(frozen=True, slots=True)
class RequestToken:
    """A temporary token: for one consent.

    Attributes:
        token: Names it; goes along to the consent page and comes back.
        secret: Signs the request for the token proper. Keep it on this side.
    """

    token: str
    secret: str = field(repr=False)


def signer(
    target: AuthTarget, *, token: str = "", token_secret: str = "", **further: str
) -> OAuth1Signer:
    """Return what signs requests of an integration.

    Args:
        target: For whom.
        token: On whose behalf.
        token_secret: Its secret.
        further: More parameters of the protocol, such as `oauth_verifier`.
    """
    client = target.client
    return OAuth1Signer(
        consumer_key=client.client_id,
        consumer_secret=client.client_secret,
        token=token,
        token_secret=token_secret,
        method=target.provider.signature_method or "HMAC-SHA1",
        private_key=client.private_key or client.client_secret,
        further=further,
    )


def request_token_request(target: AuthTarget) -> TokenRequest:
    """Return the request for a temporary token, not yet signed.

    Raises:
        TokenError: Lasting, if the entry or the connection lacks something.
    """
    provider, variables = target.provider, target.variables()
    filled = interpolate_json(dict(provider.request_params), variables)
    return TokenRequest(
        url=filled_url(provider.request_url, target, variables, "request_url"),
        params=filled if isinstance(filled, dict) else {},
        method=provider.request_http_method or "POST",
    )


def granted_request_token(target: AuthTarget, answer: JsonValue) -> RequestToken:
    """Return the temporary token of an answer.

    Raises:
        TokenError: If there is none in it.
    """
    token, secret = text_at(answer, "oauth_token"), text_at(answer, "oauth_token_secret")
    if token is None:
        raise refusal(target.provider.display_name, answer, Redactor())
    return RequestToken(token=token, secret=secret or "")


def consent_url(
    target: AuthTarget, request_token: RequestToken, params: Mapping[str, str | None] | None = None
) -> str:
    """Return where people are sent to consent.

    Args:
        target: For whom.
        request_token: Names what they consent to.
        params: Further parameters of the address, over those of the entry; None leaves one out.

    Raises:
        TokenError: Lasting, if the entry has no address or the connection lacks a parameter.
    """
    provider, variables = target.provider, target.variables()
    url = filled_url(provider.authorization_url, target, variables, "authorization_url")
    query = {
        name: interpolate(template, variables)
        for name, template in provider.authorization_params.items()
    }
    query |= {"oauth_token": request_token.token, **(params or {})}
    return add_query(url, [(name, value) for name, value in query.items() if value is not None])


def access_token_request(target: AuthTarget) -> TokenRequest:
    """Return the request for the token proper, not yet signed.

    Raises:
        TokenError: Lasting, if the entry or the connection lacks something.
    """
    provider, variables = target.provider, target.variables()
    filled = interpolate_json(dict(provider.token_params), variables)
    template = provider.token_url_for(AuthMode.OAUTH1)
    return TokenRequest(
        url=filled_url(template, target, variables, "token_url"),
        params=filled if isinstance(filled, dict) else {},
        method=provider.token_http_method or "POST",
    )


def granted(target: AuthTarget, answer: JsonValue) -> OAuth1Credentials:
    """Return the credentials of an answer.

    Raises:
        TokenError: If there is no token in it.
    """
    token, secret = text_at(answer, "oauth_token"), text_at(answer, "oauth_token_secret")
    if token is None or not isinstance(answer, dict):
        raise refusal(target.provider.display_name, answer, Redactor())
    return OAuth1Credentials.model_validate(
        {"oauth_token": token, "oauth_token_secret": secret or "", "raw": answer}
    )
