import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from perdure.connections.credentials import (
    ApiKeyCredentials,
    BasicCredentials,
    JwtCredentials,
    NoCredentials,
    access_token_of,
    expires_at_of,
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


MOMENT = "2031-05-06T07:08:09.000Z"
COMPLETE: list[dict[str, Any]] = [
    {"type": "API_KEY", "apiKey": "sk_test_1"},
    {"type": "BASIC", "username": "ada", "password": "pass word"},
    {"type": "BASIC", "username": "key-in-disguise", "password": ""},
    {"type": "NONE"},
    {"type": "OAUTH2", "access_token": "secret-a"},
    {
        "type": "OAUTH2",
        "access_token": "secret-a",
        "refresh_token": "secret-r",
        "expires_at": MOMENT,
        "raw": {"access_token": "secret-a", "team": {"id": "secret-team"}},
        "config_override": {"client_id": "c", "client_secret": "secret-c"},
    },
    {
        "type": "OAUTH2_CC",
        "client_id": "c",
        "client_secret": "secret-s",
        "client_certificate": "secret-cert",
        "client_private_key": "secret-key",
        "token": "secret-t",
        "expires_at": MOMENT,
        "raw": {"access_token": "secret-t"},
    },
    {
        "type": "OAUTH1",
        "oauth_token": "secret-o",
        "oauth_token_secret": "secret-os",
        "raw": {"user_id": "secret-u"},
    },
    {
        "type": "TBA",
        "token_id": "secret-id",
        "token_secret": "secret-s",
        "config_override": {"client_id": "c", "client_secret": "secret-c"},
    },
    {
        "type": "JWT",
        "privateKeyId": "secret-kid",
        "privateKey": {"id": "secret-1", "secret": "secret-2"},
        "token": "secret-t",
        "expires_at": MOMENT,
    },
    {
        "type": "TWO_STEP",
        "username": "secret-user",
        "password": "secret-password",
        "token": "secret-t",
        "refresh_token": "secret-r",
        "expires_at": MOMENT,
        "raw": {"data": {"token": "secret-t"}},
    },
    {
        "type": "APP",
        "installation_id": "4711",
        "app_id": "12",
        "access_token": "secret-t",
        "expires_at": MOMENT,
        "raw": {"token": "secret-t"},
    },
    {
        "type": "SIGNATURE",
        "username": "secret-user",
        "password": "secret-password",
        "token": "secret-t",
        "expires_at": MOMENT,
    },
]


@pytest.mark.parametrize("value", COMPLETE, ids=lambda value: value["type"])
def test_revealed_credentials_can_be_read_again(value: dict[str, Any]) -> None:
    assert reveal_credentials(parse_credentials(value)) == value


@pytest.mark.parametrize("value", COMPLETE, ids=lambda value: value["type"])
def test_revealed_credentials_are_json(value: dict[str, Any]) -> None:
    assert json.loads(json.dumps(reveal_credentials(parse_credentials(value)))) == value


@pytest.mark.parametrize("value", COMPLETE, ids=lambda value: value["type"])
def test_no_kind_shows_a_secret_by_repr_or_json(value: dict[str, Any]) -> None:
    credentials = parse_credentials(value)
    shown = f"{credentials!r}{credentials}"
    assert "secret-" not in shown
    assert "secret-" not in credentials.model_dump_json(exclude={"username"})


@given(
    st.dictionaries(
        st.text(min_size=1).filter(
            lambda name: name not in {"type", "inputs", *JwtCredentials.model_fields}
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2)
            ),
            max_leaves=3,
        ),
        max_size=3,
    )
)
def test_inputs_of_any_name_come_back_as_they_were(inputs: dict[str, Any]) -> None:
    assert reveal_credentials(parse_credentials({"type": "JWT", **inputs})) == {
        "type": "JWT",
        **inputs,
    }


@pytest.mark.parametrize(
    "moment",
    [
        "2031-05-06T07:08:09Z",
        "2031-05-06T09:08:09+02:00",
        "2031-05-06 07:08:09",
        1935817689,
        1935817689000,
        "1935817689",
    ],
)
def test_moment_is_read_in_the_spellings_that_people_have(moment: str | int) -> None:
    credentials = parse_credentials({"type": "OAUTH2", "access_token": "a", "expires_at": moment})
    assert expires_at_of(credentials) == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_empty_fields_of_a_form_are_not_there() -> None:
    value = {"type": "OAUTH2", "access_token": " a ", "refresh_token": "", "expires_at": ""}
    assert reveal_credentials(parse_credentials(value)) == {"type": "OAUTH2", "access_token": "a"}


def test_installation_id_may_be_a_number() -> None:
    value = {"type": "APP", "installation_id": 4711, "app_id": 12}
    revealed = {"type": "APP", "installation_id": "4711", "app_id": "12"}
    assert reveal_credentials(parse_credentials(value)) == revealed


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ({"type": "OAUTH2", "access_token": "a"}, "a"),
        ({"type": "OAUTH2_CC", "client_id": "c", "client_secret": "s", "token": "t"}, "t"),
        ({"type": "OAUTH2_CC", "client_id": "c", "client_secret": "s"}, None),
        ({"type": "APP", "installation_id": "1", "access_token": "a"}, "a"),
        ({"type": "JWT", "privateKey": "k", "token": "t"}, "t"),
        ({"type": "API_KEY", "apiKey": "k"}, None),
        ({"type": "NONE"}, None),
    ],
)
def test_access_token_is_that_of_the_kind(value: dict[str, Any], token: str | None) -> None:
    credentials = parse_credentials(value)
    assert access_token_of(credentials) == token
    assert expires_at_of(credentials) is None


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
        ({"type": "API_KEY"}, ("credentials", "apiKey")),
        ({"type": "API_KEY", "apiKey": "  "}, ("credentials", "apiKey")),
        ({"type": "BASIC", "password": "hunter2"}, ("credentials", "username")),
        ({"type": "OAUTH2", "refresh_token": "hunter2"}, ("credentials", "access_token")),
        (
            {"type": "OAUTH2", "access_token": "hunter2", "expires_at": "hunter2 o'clock"},
            ("credentials", "expires_at"),
        ),
        ({"type": "APP", "app_id": "hunter2"}, ("credentials", "installation_id")),
        ({"type": "SMOKE_SIGNALS", "apiKey": "hunter2"}, ("credentials", "type")),
        ({"apiKey": "hunter2"}, ("credentials", "type")),
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


@pytest.mark.parametrize(
    "value",
    [
        {"type": "API_KEY", "apiKey": "hush\ud800"},
        {"type": "JWT", "key": {"id": "a", "secret": ["hush\ud800"]}},
        {"type": "JWT", "hush\ud800": "a"},
    ],
)
def test_text_that_no_request_could_carry_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_credentials(value)
    assert raised.value.code == "unstorable_text"
    assert "hush" not in raised.value.message
