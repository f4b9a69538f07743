import json

import pytest
from pydantic import SecretStr

from perdure.connections.credentials import (
    ApiKeyCredentials,
    BasicCredentials,
    NoCredentials,
    parse_credentials,
    reveal_credentials,
    token_of,
)
from perdure.errors import InvalidInputError


@pytest.mark.parametrize("name", ["apiKey", "api_key"])
def test_api_key_is_read_in_both_spellings(name: str) -> None:
    credentials = parse_credentials({"type": "API_KEY", name: "sk_test_1"})
    assert credentials == ApiKeyCredentials(api_key=SecretStr("sk_test_1"))


def test_white_space_of_a_pasted_key_is_dropped() -> None:
    credentials = parse_credentials({"type": "API_KEY", "apiKey": " sk_test_1\n"})
    assert reveal_credentials(credentials) == {"type": "API_KEY", "apiKey": "sk_test_1"}


@pytest.mark.parametrize(
    "value",
    [
        {"type": "API_KEY", "apiKey": "sk_test_1"},
        {"type": "BASIC", "username": "ada", "password": "pass word"},
        {"type": "BASIC", "username": "key-in-disguise", "password": ""},
        {"type": "NONE"},
    ],
)
def test_revealed_credentials_can_be_read_again(value: dict[str, str]) -> None:
    assert reveal_credentials(parse_credentials(value)) == value


def test_no_secret_is_shown_by_repr_or_json() -> None:
    key = ApiKeyCredentials(api_key=SecretStr("sk_live_9"))
    basic = BasicCredentials(username="user-name-that-is-a-key", password=SecretStr("hunter2"))
    shown = f"{key!r}{basic!r}{key}{basic}{key.model_dump_json()}"
    assert "sk_live_9" not in shown
    assert "hunter2" not in shown
    assert "user-name-that-is-a-key" not in shown


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"type": "API_KEY"}, ("credentials", "API_KEY", "apiKey")),
        ({"type": "API_KEY", "apiKey": "  "}, ("credentials", "API_KEY", "apiKey")),
        ({"type": "BASIC", "password": "hunter2"}, ("credentials", "BASIC", "username")),
        ({"type": "SMOKE_SIGNALS", "apiKey": "hunter2"}, ("credentials",)),
        ({"apiKey": "hunter2"}, ("credentials",)),
    ],
)
def test_incomplete_credentials_are_refused_without_quoting_them(
    value: dict[str, str], path: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_credentials(value)
    assert [error.path for error in raised.value.errors] == [path]
    told = json.dumps([raised.value.message, *(e.message for e in raised.value.errors)])
    assert "hunter2" not in told
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


def test_fields_of_later_versions_are_tolerated() -> None:
    assert parse_credentials({"type": "NONE", "raw": {"x": 1}}) == NoCredentials()


def test_token_is_what_a_request_is_made_with() -> None:
    oauth1 = {"type": "OAUTH1", "oauth_token": "t", "oauth_token_secret": "s"}

    assert token_of({"type": "OAUTH2", "access_token": "t", "refresh_token": "r"}) == "t"
    assert token_of(oauth1) == {"oAuthToken": "t", "oAuthTokenSecret": "s"}
    assert token_of({"type": "API_KEY", "apiKey": "k"}) == {"type": "API_KEY", "apiKey": "k"}
