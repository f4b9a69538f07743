"""Every entry of our own catalogue works with what is here, as far as that shows without a net."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from perdure.auth import oauth2, two_step
from perdure.auth.oauth1 import access_token_request, request_token_request
from perdure.auth.own_tokens import app_request, made_jwt, made_signature
from perdure.auth.tokens import AuthTarget, ClientCredentials
from perdure.connections.credentials import Credentials, parse_credentials
from perdure.providers.provider import AuthMode, Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.auth import inject, provider_base_url, template_variables

from .conftest import Clock, private_pem

CATALOG = list(ProviderCatalog.load())
CREDENTIALS: dict[str, dict[str, Any]] = {
    "API_KEY": {"apiKey": "k-1"},
    "APP": {"installation_id": "4711", "access_token": "t-1"},
    "BASIC": {"username": "ada", "password": "pw"},
    "JWT": {"token": "t-1"},
    "NONE": {},
    "OAUTH1": {"oauth_token": "t-1", "oauth_token_secret": "ts-1"},
    "OAUTH2": {"access_token": "t-1", "refresh_token": "r-1"},
    "OAUTH2_CC": {"client_id": "c-1", "client_secret": "s-1", "token": "t-1"},
    "SIGNATURE": {"username": "ada", "password": "pw", "token": "t-1"},
    "TBA": {"token_id": "t-1", "token_secret": "ts-1"},
    "TWO_STEP": {"token": "t-1", "refresh_token": "r-1"},
}


def example(provider: Provider) -> dict[str, Any]:
    """Fill a connection's parameters in as the entry's examples have it."""
    return {
        name: field.default_value or field.example or "example"
        for name, field in provider.connection_config.items()
        if name != "appPublicLink"
    }


def connected(provider: Provider, key: str) -> tuple[AuthTarget, Credentials]:
    inputs = {name: field.example or key for name, field in provider.credentials.items()}
    mode = provider.auth_mode.value
    named = CREDENTIALS[mode]
    credentials = parse_credentials({**inputs, **named, "type": mode})
    link = "https://github.test/apps/perdure"
    client = ClientCredentials("c-1", "s-1", ("scope",), "12", key, link)
    return AuthTarget(provider, client, example(provider)), credentials


@pytest.mark.parametrize("provider", CATALOG, ids=lambda provider: provider.name)
def test_entry_says_how_requests_are_made(provider: Provider) -> None:
    target, credentials = connected(provider, "key")
    variables = template_variables(credentials, target.connection_config, target.client)
    injection = inject(provider, credentials, variables, target.client)
    if provider.auth_mode is not AuthMode.NONE:
        assert injection.headers or injection.query or injection.signer
    if provider.proxy.base_url and not provider.name.startswith("generic"):
        assert urlsplit(provider_base_url(provider, variables)).hostname


@pytest.mark.parametrize(
    "provider",
    [provider for provider in CATALOG if provider.auth_mode is AuthMode.OAUTH2],
    ids=lambda provider: provider.name,
)
def test_entry_says_how_an_account_is_connected_and_refreshed(provider: Provider) -> None:
    target, credentials = connected(provider, "key")
    url = oauth2.authorization_url(
        target, state="s", redirect_uri="https://perdure.test/cb", code_challenge="x"
    )
    assert urlsplit(url).scheme == "https"
    code = oauth2.code_request(
        target, code="c", redirect_uri="https://perdure.test/cb", code_verifier="v"
    )
    refresh = oauth2.refresh_request(target, credentials)
    for request in (code, refresh):
        assert urlsplit(request.url).scheme == "https"
        assert urlsplit(request.url).hostname


@pytest.mark.parametrize(
    "provider",
    [
        provider
        for provider in CATALOG
        if provider.auth_mode not in {"OAUTH2", "API_KEY", "BASIC", "NONE", "TBA"}
    ],
    ids=lambda provider: provider.name,
)
def test_entry_says_how_a_token_is_come_by(
    provider: Provider, clock: Clock, rsa_key: Any, ec_key: Any
) -> None:
    protocol = provider.signature.protocol if provider.signature else None
    keys = {"EC": private_pem(ec_key), "HMAC": "00112233445566778899aabbccddeeff"}
    target, given = connected(provider, keys.get(protocol or "", private_pem(rsa_key)))
    credentials: Any = given
    match provider.auth_mode:
        case AuthMode.OAUTH2_CC:
            requests = [oauth2.client_credentials_request(target, credentials)]
        case AuthMode.OAUTH1:
            requests = [request_token_request(target), access_token_request(target)]
        case AuthMode.APP:
            requests = [app_request(target, credentials, clock())]
            page = oauth2.authorization_url(
                target, state="s", redirect_uri="https://perdure.test/", code_challenge=None
            )
            assert page == "https://github.test/apps/perdure/installations/new?state=s"
        case AuthMode.JWT:
            assert made_jwt(target, credentials, clock()).token
            requests = []
        case AuthMode.SIGNATURE:
            assert made_signature(target, credentials, clock()).token
            requests = []
        case AuthMode.TWO_STEP:
            variables = two_step.step_variables(target, credentials, [], clock())
            first = two_step.steps(provider)[0]
            requests = [two_step.step_request(target, first, variables)]
        case _:
            pytest.fail(f"{provider.auth_mode} is not available")
    for request in requests:
        assert urlsplit(request.url).scheme == "https"
