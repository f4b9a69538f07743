import base64
from typing import Any

import pytest
from pydantic import SecretStr

from perdure.connections.credentials import (
    ApiKeyCredentials,
    BasicCredentials,
    Credentials,
    NoCredentials,
)
from perdure.errors import InvalidInputError
from perdure.providers.provider import Provider
from perdure.proxy.auth import Injection, inject, provider_base_url, template_variables

KEY = ApiKeyCredentials(api_key=SecretStr("k-1"))
BASIC = BasicCredentials(username="ada", password=SecretStr("pw"))
ENCODED = base64.b64encode(b"ada:pw").decode()


def provider(auth_mode: str, **proxy: Any) -> Provider:
    return Provider.model_validate(
        {"name": "acme", "display_name": "Acme", "auth_mode": auth_mode, "proxy": proxy}
    )


def injected(entry: Provider, credentials: Credentials, **config: Any) -> Injection:
    return inject(entry, credentials, template_variables(credentials, config))


def test_key_goes_only_where_the_provider_puts_it() -> None:
    assert injected(provider("API_KEY"), KEY) == Injection()
    entry = provider(
        "API_KEY",
        headers={"X-Key": "${apiKey}", "X-Version": "3", "X-Shop": "${connectionConfig.shop}"},
        query={"key": "${credentials.apiKey}", "shop": "${connectionConfig.shop}"},
    )
    injection = injected(entry, KEY)
    assert injection.headers == {"x-key": "k-1", "x-version": "3"}
    assert injection.query == {"key": "k-1"}
    assert injection.secret_headers == {"x-key"}
    assert injected(entry, KEY, shop="s").headers["x-shop"] == "s"


def test_basic_makes_its_header() -> None:
    injection = injected(provider("BASIC"), BASIC)
    assert injection.headers == {"authorization": f"Basic {ENCODED}"}
    assert injection.secret_headers == {"authorization"}


def test_providers_own_wording_wins_over_basic() -> None:
    entry = provider("BASIC", headers={"Authorization": "Token ${base64(${username}:${password})}"})
    assert injected(entry, BASIC).headers == {"authorization": f"Token {ENCODED}"}


def test_open_api_gets_nothing() -> None:
    entry = provider("NONE", headers={"authorization": "Bearer ${apiKey}"})
    assert injected(entry, NoCredentials()) == Injection()


def test_secrets_stay_out_of_repr() -> None:
    assert "k-1" not in repr(injected(provider("API_KEY", headers={"x": "${apiKey}"}), KEY))


@pytest.mark.parametrize(
    ("auth_mode", "credentials", "code"),
    [
        ("API_KEY", BASIC, "invalid_credentials"),
        ("BASIC", NoCredentials(), "invalid_credentials"),
        ("NONE", KEY, "invalid_credentials"),
        ("OAUTH2", KEY, "invalid_credentials"),
        ("AWS_SIGV4", KEY, "unsupported_auth"),
    ],
)
def test_credentials_of_another_kind_are_refused(
    auth_mode: str, credentials: Credentials, code: str
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        injected(provider(auth_mode), credentials)
    assert raised.value.code == code


def test_base_url_is_filled_in_for_the_connection() -> None:
    entry = provider("NONE", base_url="https://${connectionConfig.shop}.a.test || https://a.test")
    assert provider_base_url(entry, template_variables(KEY, {})) == "https://a.test"
    variables = template_variables(KEY, {"shop": "x"})
    assert provider_base_url(entry, variables) == "https://x.a.test"


@pytest.mark.parametrize(
    ("base_url", "told"),
    [
        (None, "set base_url_override"),
        ("${connectionConfig.baseUrl}", "connectionConfig.baseUrl"),
        ("https://${connectionConfig.evil}.a.test", "connectionConfig.evil"),
    ],
)
def test_missing_base_url_is_said(base_url: str | None, told: str) -> None:
    entry = provider("NONE", base_url=base_url)
    with pytest.raises(InvalidInputError, match=told) as raised:
        provider_base_url(entry, template_variables(KEY, {"evil": "b.test/"}))
    assert raised.value.code == "missing_api_url"
