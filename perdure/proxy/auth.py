"""How the credentials of a connection get into a request.

Basic credentials make an `Authorization` header unless the provider entry words its own; a key
goes where the entry's `headers` and `query` put it. A template whose names have no value is left
out. Modes that need a token of their own are refused until the connection can hold one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from pydantic import JsonValue

from perdure.connections.credentials import (
    ApiKeyCredentials,
    BasicCredentials,
    Credentials,
    NoCredentials,
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

__all__ = ["Injection", "inject", "provider_base_url", "secrets_of", "template_variables"]

_ACCEPTED: Mapping[AuthMode, type[ApiKeyCredentials | BasicCredentials | NoCredentials]] = {
    AuthMode.API_KEY: ApiKeyCredentials,
    AuthMode.BASIC: BasicCredentials,
    AuthMode.NONE: NoCredentials,
}


@dataclass(frozen=True, slots=True)
class Injection:
    """What a provider and a connection add to a request.

    Attributes:
        headers: By lower-case name.
        query: By name.
        secret_headers: Names of the headers that were made from a template, so may hold a secret.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_headers: frozenset[str] = frozenset()


def template_variables(
    credentials: Credentials, connection_config: Mapping[str, JsonValue]
) -> TemplateVariables:
    """Return what the templates of a provider entry may name for a connection."""
    return TemplateVariables(
        connection_config=connection_config, credentials=reveal_credentials(credentials)
    )


def inject(provider: Provider, credentials: Credentials, variables: TemplateVariables) -> Injection:
    """Return what goes into each request of a connection.

    Raises:
        InvalidInputError: With code `unsupported_auth` if the provider's mode is not supported
            yet, `invalid_credentials` if the connection has credentials of another kind.
    """
    accepted = _ACCEPTED.get(provider.auth_mode)
    if accepted is None:
        raise InvalidInputError(
            f"The provider {provider.name!r} authenticates by {provider.auth_mode.value}, which "
            "is not supported yet.",
            code="unsupported_auth",
        )
    if not isinstance(credentials, accepted):
        raise InvalidInputError(
            f"The provider {provider.name!r} takes credentials of type {provider.auth_mode.value}; "
            f"the connection has {credentials.type}. Create the connection again.",
            code="invalid_credentials",
        )
    headers: dict[str, str] = {}
    if isinstance(credentials, BasicCredentials):
        headers["authorization"] = f"Basic {_basic(credentials)}"
    headers |= _filled(provider.proxy.headers, variables)
    return Injection(
        headers=headers,
        query=_filled(provider.proxy.query, variables),
        secret_headers=frozenset(
            name
            for name in headers
            if name == "authorization" or variables_in(provider.proxy.headers.get(name, ""))
        ),
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
    match credentials:
        case ApiKeyCredentials():
            key = credentials.api_key.get_secret_value()
            return key, base64.b64encode(f"{key}:".encode()).decode("ascii")
        case BasicCredentials():
            # A user name without a password is a key in disguise; others are ordinary words.
            secret = credentials.password.get_secret_value() or credentials.username
            return secret, _basic(credentials)
        case NoCredentials():
            return ()
        case _:
            assert_never(credentials)


def _basic(credentials: BasicCredentials) -> str:
    pair = f"{credentials.username}:{credentials.password.get_secret_value()}"
    return base64.b64encode(pair.encode()).decode("ascii")


def _filled(templates: Mapping[str, str], variables: TemplateVariables) -> dict[str, str]:
    filled = {name: interpolate(template, variables) for name, template in templates.items()}
    return {name: text for name, text in filled.items() if text is not None}
