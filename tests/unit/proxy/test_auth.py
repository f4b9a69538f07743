import base64
from typing import Any

import pytest
from pydantic import SecretStr

from perdure.connections.client_credentials import ClientCredentials
from perdure.connections.credentials import (
    ApiKeyCredentials,
    BasicCredentials,
    Credentials,
    NoCredentials,
    parse_credentials,
)
from perdure.errors import InvalidInputError
from perdure.providers.provider import Provider
from perdure.proxy.auth import (
    Injection,
    inject,
    provider_base_url,
    secrets_of,
    template_variables,
)
from perdure.proxy.redaction import Redactor

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


TOKENS: list[dict[str, Any]] = [
    {"type": "OAUTH2", "access_token": "t-1"},
    {"type": "OAUTH2_CC", "client_id": "c", "client_secret": "s", "token": "t-1"},
    {"type": "JWT", "privateKey": "k", "token": "t-1"},
    {"type": "TWO_STEP", "username": "u", "token": "t-1"},
    {"type": "APP", "installation_id": "1", "access_token": "t-1"},
    {"type": "SIGNATURE", "username": "u", "password": "p", "token": "t-1"},
]


@pytest.mark.parametrize("value", TOKENS, ids=lambda value: value["type"])
def test_token_is_a_bearer(value: dict[str, Any]) -> None:
    injection = injected(provider(value["type"]), parse_credentials(value))
    assert injection.headers == {"authorization": "Bearer t-1"}
    assert injection.secret_headers == {"authorization"}
    assert injection.signer is None


@pytest.mark.parametrize("value", TOKENS, ids=lambda value: value["type"])
def test_providers_own_wording_wins_over_the_bearer(value: dict[str, Any]) -> None:
    entry = provider(value["type"], headers={"authorization": "token ${accessToken}"})
    headers = injected(entry, parse_credentials(value)).headers
    assert headers == {"authorization": "token t-1"}


@pytest.mark.parametrize(
    "value", [value for value in TOKENS if "token" in value], ids=lambda value: value["type"]
)
def test_token_that_was_not_got_yet_is_said(value: dict[str, Any]) -> None:
    without = {name: text for name, text in value.items() if name != "token"}
    with pytest.raises(InvalidInputError, match="no token") as raised:
        injected(provider(value["type"]), parse_credentials(without))
    assert raised.value.code == "invalid_credentials"


def test_client_of_the_integration_goes_where_the_entry_names_it() -> None:
    entry = provider("OAUTH2", headers={"Client-Id": "${clientId}"})
    credentials = parse_credentials(TOKENS[0])
    client = ClientCredentials(client_id="c-1")
    variables = template_variables(credentials, {}, client)
    headers = inject(entry, credentials, variables, client).headers
    assert headers == {"authorization": "Bearer t-1", "client-id": "c-1"}


def test_parameters_of_the_integration_go_where_the_entry_names_them() -> None:
    entry = provider("OAUTH2", headers={"x-region": "${integrationConfig.region}"})
    credentials = parse_credentials(TOKENS[0])
    client = ClientCredentials.of(None, {"region": "eu"})
    headers = inject(entry, credentials, template_variables(credentials, {}, client)).headers
    assert headers["x-region"] == "eu"


SIGNED: list[dict[str, Any]] = [
    {"type": "OAUTH1", "oauth_token": "t-1", "oauth_token_secret": "ts-1"},
    {"type": "TBA", "token_id": "t-1", "token_secret": "ts-1"},
]


@pytest.mark.parametrize("value", SIGNED, ids=lambda value: value["type"])
def test_signature_needs_a_client(value: dict[str, Any]) -> None:
    entry, credentials = provider(value["type"]), parse_credentials(value)
    with pytest.raises(InvalidInputError) as raised:
        injected(entry, credentials)
    assert raised.value.code == "missing_client"
    client = ClientCredentials(client_id="c-1", client_secret="cs-1")
    injection = inject(entry, credentials, template_variables(credentials, {}, client), client)
    assert injection.signer is not None
    assert injection.headers == {}
    assert "ts-1" not in repr(injection)


def test_entry_that_words_the_header_itself_is_not_signed() -> None:
    entry = provider("OAUTH1", headers={"authorization": "OAuth ${credentials.oauth_token}"})
    injection = injected(entry, parse_credentials(SIGNED[0]))
    assert (injection.headers, injection.signer) == ({"authorization": "OAuth t-1"}, None)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"type": "API_KEY", "apiKey": "secret-1"}, ()),
        ({"type": "BASIC", "username": "name", "password": "secret-1"}, ("name",)),
        ({"type": "BASIC", "username": "secret-1"}, ()),
        (
            {
                "type": "OAUTH2",
                "access_token": "secret-1",
                "refresh_token": "secret-2",
                "raw": {
                    "id_token": "secret-3",
                    "scope": "read",
                    "authed_user": {"access_token": "secret-4", "id": "U12345"},
                    "list": [{"client_secret": "secret-5"}],
                },
                "config_override": {"client_id": "client", "client_secret": "secret-6"},
            },
            ("read", "U12345", "client"),
        ),
        (
            {
                "type": "OAUTH2_CC",
                "client_id": "client",
                "client_secret": "secret-1",
                "client_private_key": "secret-2",
                "token": "secret-3",
            },
            ("client",),
        ),
        ({"type": "OAUTH1", "oauth_token": "secret-1", "oauth_token_secret": "secret-2"}, ()),
        ({"type": "TBA", "token_id": "secret-1", "token_secret": "secret-2"}, ()),
        (
            {"type": "JWT", "key": {"id": "secret-1", "deep": ["secret-2"]}, "token": "secret-3"},
            (),
        ),
        (
            {
                "type": "TWO_STEP",
                "anything": "secret-1",
                "token": "secret-2",
                "raw": {"x": "shown"},
            },
            ("shown",),
        ),
        ({"type": "APP", "installation_id": "4711", "access_token": "secret-1"}, ("4711",)),
        (
            {"type": "SIGNATURE", "username": "name", "password": "secret-1", "token": "secret-2"},
            ("name",),
        ),
        ({"type": "NONE"}, ()),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_secrets_of_every_kind_are_masked_and_ordinary_words_are_not(
    value: dict[str, Any], shown: tuple[str, ...]
) -> None:
    redactor = Redactor(secrets_of(parse_credentials(value)))
    text = redactor.text(f"{value}")
    assert "secret-" not in text
    for word in shown:
        assert word in text


def test_client_that_shows_itself_by_basic_is_masked() -> None:
    value = {"type": "OAUTH2_CC", "client_id": "ada", "client_secret": "pw"}
    assert ENCODED in secrets_of(parse_credentials(value))


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
