import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from perdure.connections.credentials import ApiKeyCredentials, BasicCredentials, NoCredentials
from perdure.proxy.auth import secrets_of
from perdure.proxy.redaction import MASK, Redactor, is_sensitive_name


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "set-cookie",
        "X-Api-Key",
        "apikey",
        "api_key",
        "apiKey",
        "key",
        "access_token",
        "accessToken",
        "private-token",
        "x-auth-token",
        "token",
        "client_secret",
        "clientSecret",
        "password",
        "x-amz-signature",
        "x-shopify-access-token",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_sensitive_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "accept",
        "content-type",
        "retry-after",
        "x-ratelimit-remaining",
        "page_token",
        "nextPageToken",
        "starting_after",
        "author",
        "keyword",
        "monkey",
        "limit",
    ],
)
def test_ordinary_names_are_shown(name: str) -> None:
    assert not is_sensitive_name(name)


def test_secret_is_masked_in_every_spelling() -> None:
    secret = 'p"ass/w ord'
    redactor = Redactor([secret])
    for spelling in (secret, "p%22ass%2Fw%20ord", "p%22ass%2Fw+ord", 'p\\"ass/w ord'):
        assert redactor.text(f"<{spelling}>") == f"<{MASK}>"


def test_headers_are_masked_by_name_and_by_value() -> None:
    redactor = Redactor(["sk_live_1"])
    assert redactor.headers({"set-cookie": "a=b", "x-echo": "got sk_live_1", "date": "now"}) == {
        "set-cookie": MASK,
        "x-echo": f"got {MASK}",
        "date": "now",
    }


def test_url_shows_the_way_but_no_secret() -> None:
    url = "https://user:pw@a.test/bot-sk_live_1/x?page=2&api_key=abc&q=sk_live_1&token=#frag"
    assert Redactor(["sk_live_1"]).url(url) == (
        f"https://a.test/bot-{MASK}/x?page=2&api_key={MASK}&q={MASK}&token={MASK}#frag"
    )


def test_very_short_secrets_do_not_destroy_the_message() -> None:
    assert Redactor(["a", ""]).text("a bad request") == "a bad request"


def test_secrets_of_credentials_include_what_is_sent_for_them() -> None:
    encoded = base64.b64encode(b"ada:hunter2").decode()
    basic = BasicCredentials(username="ada", password=SecretStr("hunter2"))
    assert set(secrets_of(basic)) == {"hunter2", encoded}
    disguised = BasicCredentials(username="key-123")
    assert "key-123" in secrets_of(disguised)
    assert "sk_live_1" in secrets_of(ApiKeyCredentials(api_key=SecretStr("sk_live_1")))
    assert secrets_of(NoCredentials()) == ()


@given(secret=st.text(min_size=4, max_size=30), before=st.text(), after=st.text())
def test_secret_never_survives(secret: str, before: str, after: str) -> None:
    shown = Redactor([secret]).text(f"{before}{secret}{after}")
    assert MASK in shown or secret in MASK * 3
    assert Redactor([secret]).text(secret) == MASK
