"""How the credentials of a connection get into a request.

Basic credentials make a `Basic` header, tokens a `Bearer` header, OAuth 1 signs the request; a key
goes where the entry's `headers` and `query` put it. What the entry words itself wins. A token of
TWO_STEP or SIGNATURE that the entry puts somewhere itself makes no header besides. A template
whose names have no value is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic import JsonValue

from perdure.connections.client_credentials import ClientCredentials, client_of
from perdure.connections.credentials import (
    ApiKeyCredentials,
    AppCredentials,
    BasicCredentials,
    Credentials,
    JwtCredentials,
    NoCredentials,
    OAuth1Credentials,
    OAuth2ClientCredentials,
    OAuth2Credentials,
    SignatureCredentials,
    TbaCredentials,
    TwoStepCredentials,
    access_token_of,
    reveal_credentials,
)
from perdure.connections.interpolation import (
    TemplateVariables,
    interpolate,
    interpolate_url,
    variables_in,
)
from perdure.errors import InvalidInputError
from perdure.providers.provider import AuthMode, Provider
from perdure.proxy.exchange import OutgoingRequest
from perdure.proxy.oauth1 import OAuth1Signer
from perdure.proxy.redaction import is_sensitive_name

__all__ = [
    "Injection",
    "RequestSigner",
    "inject",
    "provider_base_url",
    "secrets_of",
    "template_variables",
]

RequestSigner: TypeAlias = Callable[[OutgoingRequest], OutgoingRequest]
"""Adds to a complete request what can only be computed from it."""

_ACCEPTED: Mapping[AuthMode, type[Credentials]] = {
    AuthMode.API_KEY: ApiKeyCredentials,
    AuthMode.APP: AppCredentials,
    AuthMode.BASIC: BasicCredentials,
    AuthMode.JWT: JwtCredentials,
    AuthMode.NONE: NoCredentials,
    AuthMode.OAUTH1: OAuth1Credentials,
    AuthMode.OAUTH2: OAuth2Credentials,
    AuthMode.OAUTH2_CC: OAuth2ClientCredentials,
    AuthMode.SIGNATURE: SignatureCredentials,
    AuthMode.TBA: TbaCredentials,
    AuthMode.TWO_STEP: TwoStepCredentials,
}
_TOKEN_MODES = frozenset(
    {
        AuthMode.APP,
        AuthMode.JWT,
        AuthMode.OAUTH2,
        AuthMode.OAUTH2_CC,
        AuthMode.SIGNATURE,
        AuthMode.TWO_STEP,
    }
)
_PLACED_BY_ENTRY = frozenset({AuthMode.SIGNATURE, AuthMode.TWO_STEP})
_TOKEN_NAMES = frozenset(
    {"accessToken", "credentials.token", "credentials.accessToken", "credentials.access_token"}
)


@dataclass(frozen=True, slots=True)
class Injection:
    """What a provider and a connection add to a request.

    Attributes:
        headers: By lower-case name.
        query: By name.
        secret_headers: Names of the headers that were made from a template, so may hold a secret.
        signer: Signs the request when all else is in it; None where nothing is signed.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_headers: frozenset[str] = frozenset()
    signer: RequestSigner | None = field(default=None, repr=False)


def template_variables(
    credentials: Credentials,
    connection_config: Mapping[str, JsonValue],
    client: ClientCredentials | None = None,
) -> TemplateVariables:
    """Return what the templates of a provider entry may name for a connection.

    Args:
        credentials: Those of the connection.
        connection_config: Its parameters.
        client: What its integration authenticates with.
    """
    own = client_of(credentials, client or ClientCredentials())
    return TemplateVariables(
        connection_config=connection_config,
        credentials=reveal_credentials(credentials),
        client_id=own.client_id or None,
        client_secret=own.client_secret or None,
        integration_config=own.config,
    )


def inject(
    provider: Provider,
    credentials: Credentials,
    variables: TemplateVariables,
    client: ClientCredentials | None = None,
) -> Injection:
    """Return what goes into each request of a connection.

    Args:
        provider: Entry of the provider.
        credentials: Those of the connection.
        variables: What its templates may name.
        client: What its integration authenticates with; OAuth 1 signs with it.

    Raises:
        InvalidInputError: With code `unsupported_auth` if the provider's mode is not supported,
            `invalid_credentials` if the connection has credentials of another kind or without a
            token, `missing_client` if requests are signed and the integration has no client.
    """
    mode = provider.auth_mode
    accepted = _ACCEPTED.get(mode)
    if accepted is None:
        raise InvalidInputError(
            f"The provider {provider.name!r} authenticates by {mode.value}, which is not "
            "supported.",
            code="unsupported_auth",
        )
    if not isinstance(credentials, accepted):
        raise InvalidInputError(
            f"The provider {provider.name!r} takes credentials of type {mode.value}; "
            f"the connection has {credentials.type}. Create the connection again.",
            code="invalid_credentials",
        )
    worded = _filled(provider.proxy.headers, variables)
    headers = {**_own_headers(provider, credentials, variables), **worded}
    signer = None
    if (
        isinstance(credentials, OAuth1Credentials | TbaCredentials)
        and "authorization" not in worded
    ):
        signer = _signer(provider, credentials, variables, client or ClientCredentials())
    return Injection(
        headers=headers,
        query=_filled(provider.proxy.query, variables),
        secret_headers=frozenset(
            name
            for name in headers
            if name == "authorization" or variables_in(provider.proxy.headers.get(name, ""))
        ),
        signer=signer,
    )


def provider_base_url(provider: Provider, variables: TemplateVariables) -> str:
    """Return the provider's base URL for a connection.

    Raises:
        InvalidInputError: With code `missing_api_url`, if the entry has none or the connection
            does not say what the entry needs.
    """
    template = provider.proxy.base_url
    if template is None:
        raise InvalidInputError(
            f"The provider {provider.name!r} has no base URL: set base_url_override.",
            code="missing_api_url",
        )
    url = interpolate_url(template, variables)
    if url is None:
        needed = ", ".join(variables_in(template))
        raise InvalidInputError(
            f"The base URL of the provider {provider.name!r} needs {needed}, which the connection "
            "does not have, or which cannot stand in a host name.",
            code="missing_api_url",
        )
    return url


def secrets_of(credentials: Credentials) -> tuple[str, ...]:
    """Return every text that must not be shown: the secrets, and what is sent instead of them."""
    return tuple(dict.fromkeys(secret for secret in _secrets(credentials) if secret))


def _secrets(credentials: Credentials) -> Iterator[str]:
    revealed = reveal_credentials(credentials)
    match credentials:
        case ApiKeyCredentials():
            key = credentials.api_key.get_secret_value()
            yield from (key, _base64(f"{key}:"))
        case BasicCredentials():
            # A user name without a password is a key in disguise; others are ordinary words.
            yield credentials.password.get_secret_value() or credentials.username
            yield _basic(credentials)
        case JwtCredentials() | TwoStepCredentials():
            yield from _texts(credentials.inputs.get_secret_value())
        case TbaCredentials():
            yield credentials.token_id.get_secret_value()
        case SignatureCredentials():
            yield credentials.password.get_secret_value()
        case OAuth2ClientCredentials():
            secret = credentials.client_secret.get_secret_value()
            yield from (secret, _base64(f"{credentials.client_id}:{secret}") if secret else "")
    yield from _named_secrets(revealed)


def _named_secrets(value: JsonValue) -> Iterator[str]:
    """Return the texts in credentials whose names say that they are secret, also in `raw`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and is_sensitive_name(name):
                yield inner
            elif isinstance(inner, dict | list):
                yield from _named_secrets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named_secrets(inner)


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _own_headers(
    provider: Provider, credentials: Credentials, variables: TemplateVariables
) -> dict[str, str]:
    """Return the header that the mode itself makes."""
    if isinstance(credentials, BasicCredentials):
        return {"authorization": f"Basic {_basic(credentials)}"}
    if provider.auth_mode not in _TOKEN_MODES:
        return {}
    token = access_token_of(credentials)
    if token is None:
        raise InvalidInputError(
            f"The connection has no token of {provider.display_name} yet.",
            code="invalid_credentials",
        )
    if provider.auth_mode in _PLACED_BY_ENTRY and _places_token(provider):
        return {}
    if provider.proxy_header_authorization is not None:
        own = interpolate(provider.proxy_header_authorization, variables)
        return {} if own is None else {"authorization": own}
    return {"authorization": f"Bearer {token}"}


def _places_token(provider: Provider) -> bool:
    proxy = provider.proxy
    if "authorization" in proxy.headers or "cookie" in proxy.headers:
        return True
    templates = (*proxy.headers.values(), *proxy.query.values())
    return any(not _TOKEN_NAMES.isdisjoint(variables_in(text)) for text in templates)


def _signer(
    provider: Provider,
    credentials: OAuth1Credentials | TbaCredentials,
    variables: TemplateVariables,
    client: ClientCredentials,
) -> OAuth1Signer:
    client = client_of(credentials, client)
    if not client.client_id:
        raise InvalidInputError(
            f"The integration of {provider.display_name} has no client_id and client_secret to "
            "sign requests with.",
            code="missing_client",
        )
    if isinstance(credentials, OAuth1Credentials):
        return OAuth1Signer(
            consumer_key=client.client_id,
            consumer_secret=client.client_secret,
            token=credentials.oauth_token.get_secret_value(),
            token_secret=credentials.oauth_token_secret.get_secret_value(),
            method=provider.signature_method or "HMAC-SHA1",
            private_key=client.private_key or client.client_secret,
        )
    account = variables.lookup("connectionConfig.accountId")
    return OAuth1Signer(
        consumer_key=client.client_id,
        consumer_secret=client.client_secret,
        token=credentials.token_id.get_secret_value(),
        token_secret=credentials.token_secret.get_secret_value(),
        method=provider.signature_method or "HMAC-SHA256",
        # In host names the id of a sandbox is written in another way than it is.
        realm=account.upper().replace("-", "_") if account else None,
    )


def _basic(credentials: BasicCredentials) -> str:
    return _base64(f"{credentials.username}:{credentials.password.get_secret_value()}")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _filled(templates: Mapping[str, str], variables: TemplateVariables) -> dict[str, str]:
    filled = {name: interpolate(template, variables) for name, template in templates.items()}
    return {name: text for name, text in filled.items() if text is not None}
