import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.auth.oauth2 import authorization_url, kept_metadata
from perdure.auth.tokens import (
    AuthTarget,
    ClientCredentials,
    TokenClient,
    TokenError,
    can_be_refreshed,
)
from perdure.connections.credentials import (
    OAuth2ClientCredentials,
    OAuth2Credentials,
    parse_credentials,
    reveal_credentials,
)

from .conftest import CLIENT, Clock, private_pem, provider, public_pem, target
from .oauth2_server import OAuth2Server

BACK = "https://perdure.test/oauth/callback"
VERIFIER = "a-code-verifier-of-more-than-forty-three-characters"
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
)


def oauth2(server: OAuth2Server, **fields: Any) -> AuthTarget:
    urls = {"authorization_url": server.authorization_url, "token_url": server.token_url}
    return target(provider("OAUTH2", **urls, **fields))


async def connected(
    tokens: TokenClient, server: OAuth2Server, **fields: Any
) -> tuple[AuthTarget, OAuth2Credentials]:
    wanted = oauth2(server, **fields)
    url = tokens.authorization_url(wanted, state="s-1", redirect_uri=BACK, code_challenge=CHALLENGE)
    callback = server.consent(url)
    assert callback["state"] == "s-1"
    credentials, _ = await tokens.exchange_code(
        wanted, code=callback["code"], redirect_uri=BACK, code_verifier=VERIFIER
    )
    return wanted, credentials


def oauth2_credentials(**fields: Any) -> OAuth2Credentials:
    return OAuth2Credentials.model_validate({"access_token": "old", **fields})


# The flow, against a server that checks.


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"authorization_method": "body"},
        {"authorization_method": "header"},
        {"token_request_auth_method": "basic"},
        {"body_format": "json"},
        {"body_format": "json", "authorization_method": "header"},
        {"body_format": "query"},
        {"disable_pkce": True},
    ],
    ids=str,
)
async def test_code_becomes_tokens_in_every_way_that_clients_are_shown(
    tokens: TokenClient, oauth2_server: OAuth2Server, clock: Clock, fields: dict[str, Any]
) -> None:
    _, credentials = await connected(tokens, oauth2_server, **fields)

    revealed = reveal_credentials(credentials)
    assert revealed["access_token"] in oauth2_server.issued
    assert credentials.expires_at is not None
    assert (credentials.expires_at - clock.now).total_seconds() == 3600
    assert revealed["raw"]["token_type"] == "Bearer"
    headers, sent = oauth2_server.requests[-1]
    by_header = fields.get("authorization_method") == "header" or "basic" in fields.values()
    assert ("Authorization" in headers) == by_header
    assert ("client_secret" in sent) != by_header
    assert ("code_verifier" in sent) != fields.get("disable_pkce", False)


async def test_wrong_code_verifier_is_refused_for_good(
    tokens: TokenClient, oauth2_server: OAuth2Server
) -> None:
    wanted = oauth2(oauth2_server)
    url = tokens.authorization_url(wanted, state="s", redirect_uri=BACK, code_challenge=CHALLENGE)
    code = oauth2_server.consent(url)["code"]
    with pytest.raises(TokenError) as raised:
        await tokens.exchange_code(
            wanted, code=code, redirect_uri=BACK, code_verifier=f"{VERIFIER}-not"
        )
    assert (raised.value.error, raised.value.lasting) == ("invalid_grant", True)


async def test_refresh_rotates_and_the_newest_refresh_token_is_kept(
    tokens: TokenClient, oauth2_server: OAuth2Server, clock: Clock
) -> None:
    wanted, first = await connected(tokens, oauth2_server)
    clock.passes(1800)

    second = await tokens.refresh(wanted, first)
    third = await tokens.refresh(wanted, second)

    access = {reveal_credentials(each)["access_token"] for each in (first, second, third)}
    assert len(access) == 3
    assert access <= oauth2_server.issued
    assert isinstance(third, OAuth2Credentials)
    assert third.expires_at is not None
    assert (third.expires_at - clock.now).total_seconds() == 3600
    with pytest.raises(TokenError, match="invalid_grant"):
        await tokens.refresh(wanted, first)


async def test_refresh_without_a_new_refresh_token_keeps_the_old_one(
    tokens: TokenClient, oauth2_server: OAuth2Server
) -> None:
    oauth2_server.rotates = False
    wanted, credentials = await connected(tokens, oauth2_server)
    before = reveal_credentials(credentials)["refresh_token"]
    refreshed = await tokens.refresh(wanted, credentials)
    again = await tokens.refresh(wanted, refreshed)
    assert reveal_credentials(again)["refresh_token"] == before


async def test_client_that_a_connection_brings_along_refreshes_it(
    tokens: TokenClient, oauth2_server: OAuth2Server
) -> None:
    wanted, credentials = await connected(tokens, oauth2_server)
    own = parse_credentials(
        {
            **reveal_credentials(credentials),
            "config_override": {
                "client_id": CLIENT.client_id,
                "client_secret": CLIENT.client_secret,
            },
        }
    )
    elsewhere = AuthTarget(wanted.provider, ClientCredentials(client_id="other"))
    with pytest.raises(TokenError, match="invalid_client"):
        await tokens.refresh(elsewhere, credentials)
    refreshed = await tokens.refresh(elsewhere, own)
    assert isinstance(refreshed, OAuth2Credentials)
    assert refreshed.config_override is not None


@pytest.mark.parametrize("kind", ["RSA", "EC"])
async def test_client_may_sign_who_it_is(
    tokens: TokenClient,
    oauth2_server: OAuth2Server,
    rsa_key: rsa.RSAPrivateKey,
    ec_key: ec.EllipticCurvePrivateKey,
    kind: str,
) -> None:
    key = rsa_key if kind == "RSA" else ec_key
    importer = RSAKey if kind == "RSA" else ECKey
    oauth2_server.client_key = importer.import_key(public_pem(key))
    client = ClientCredentials(client_id=CLIENT.client_id, private_key=private_pem(key))
    entry = provider(
        "OAUTH2_CC",
        token_url=oauth2_server.token_url,
        token_request_auth_method="private_key_jwt",
    )
    given = OAuth2ClientCredentials.model_validate(
        {"client_id": CLIENT.client_id, "client_private_key": private_pem(key)}
    )
    obtained = await tokens.obtain(AuthTarget(entry, client), given)
    assert reveal_credentials(obtained)["token"] in oauth2_server.issued
    assert "client_secret" not in oauth2_server.requests[-1][1]


# Client credentials.


@pytest.mark.parametrize(
    "fields",
    [{}, {"token_request_auth_method": "basic"}, {"body_format": "json"}],
    ids=str,
)
async def test_client_gets_a_token_for_itself(
    tokens: TokenClient, oauth2_server: OAuth2Server, clock: Clock, fields: dict[str, Any]
) -> None:
    entry = provider("OAUTH2_CC", token_url=oauth2_server.token_url, **fields)
    given = parse_credentials(
        {"type": "OAUTH2_CC", "client_id": "client-1", "client_secret": "client-secret-1"}
    )
    obtained = await tokens.obtain(target(entry, ClientCredentials(scopes=("a", "b"))), given)

    revealed = reveal_credentials(obtained)
    assert revealed["token"] in oauth2_server.issued
    assert revealed["client_secret"] == "client-secret-1"
    assert isinstance(obtained, OAuth2ClientCredentials)
    assert obtained.expires_at is not None
    assert (obtained.expires_at - clock.now).total_seconds() == 3600
    assert oauth2_server.requests[-1][1]["scope"] == "a b"
    again = await tokens.refresh(target(entry), obtained)
    assert reveal_credentials(again)["token"] != revealed["token"]


async def test_wrong_client_is_refused_for_good_and_its_secret_is_not_told(
    tokens: TokenClient, oauth2_server: OAuth2Server
) -> None:
    entry = provider("OAUTH2_CC", token_url=oauth2_server.token_url)
    given = parse_credentials(
        {"type": "OAUTH2_CC", "client_id": "client-1", "client_secret": "hunter2"}
    )
    with pytest.raises(TokenError) as raised:
        await tokens.obtain(target(entry), given)
    error = raised.value
    assert (error.error, error.status, error.lasting) == ("invalid_client", 401, True)
    assert "hunter2" not in f"{error.message}{error.body}{error.headers}"


async def test_tokens_address_may_differ_by_mode_and_name_the_connections_parameters(
    tokens: TokenClient, oauth2_server: OAuth2Server
) -> None:
    entry = provider(
        "OAUTH2_CC",
        token_url={
            "OAUTH2": "https://unused.test",
            "OAUTH2_CC": "${connectionConfig.base}/token",
        },
        token_params={"audience": "${connectionConfig.audience}", "left_out": "${metadata.x}"},
    )
    given = parse_credentials(
        {"type": "OAUTH2_CC", "client_id": "client-1", "client_secret": "client-secret-1"}
    )
    base = oauth2_server.server.url_for("").rstrip("/")
    wanted = target(entry, base=base, audience="api", oauth_scopes="x,y")
    await tokens.obtain(wanted, given)
    sent = oauth2_server.requests[-1][1]
    assert sent["audience"] == "api"
    assert "left_out" not in sent
    assert sent["scope"] == "x y"
    with pytest.raises(TokenError, match=r"connectionConfig\.base") as raised:
        await tokens.obtain(target(entry), given)
    assert raised.value.lasting


# The consent page.


def consent(entry: dict[str, Any], **given: Any) -> str:
    config = given.pop("config", {})
    wanted = target(
        provider("OAUTH2", authorization_url="https://acme.test/authorize", **entry), **config
    )
    arguments: dict[str, Any] = {
        "state": "s",
        "redirect_uri": BACK,
        "code_challenge": CHALLENGE,
        **given,
    }
    return authorization_url(wanted, **arguments)


def query(url: str) -> dict[str, str]:
    return {n: v[0] for n, v in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def test_consent_page_is_asked_for_what_the_standard_says() -> None:
    asked = query(consent({"default_scopes": ["read", "write all"]}))
    assert asked == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": BACK,
        "scope": "read write all",
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


def test_integrations_scopes_are_asked_for_besides_the_providers() -> None:
    entry = provider(
        "OAUTH2", authorization_url="https://acme.test/authorize", default_scopes=["d", "e"]
    )
    wanted = target(entry, ClientCredentials(client_id="c", scopes=("a", "d")))
    url = authorization_url(wanted, state="s", redirect_uri=BACK, code_challenge=CHALLENGE)
    assert query(url)["scope"] == "d e a"


def test_connections_scopes_take_the_place_of_all_others() -> None:
    entry = {"scope_separator": ",", "default_scopes": ["d"]}
    assert query(consent(entry))["scope"] == "d"
    assert query(consent(entry, config={"oauth_scopes_override": "x,y"}))["scope"] == "x,y"
    assert query(consent(entry, scopes=["z"]))["scope"] == "z"
    assert "scope" not in query(consent(entry, scopes=[]))


def test_entry_and_caller_add_parameters_and_take_them_away() -> None:
    entry = {
        "authorization_params": {"prompt": "consent", "tenant": "${connectionConfig.tenant}"},
        "disable_pkce": True,
    }
    asked = query(
        consent(entry, config={"tenant": "t 1"}, params={"prompt": None, "login_hint": "ada"})
    )
    assert asked["tenant"] == "t 1"
    assert asked["login_hint"] == "ada"
    assert not {"prompt", "code_challenge", "code_challenge_method"} & set(asked)
    assert "tenant" not in query(consent(entry))


def test_addresses_query_and_peculiarities_of_providers() -> None:
    url = consent({"authorization_url_skip_encode": ["redirect_uri"]})
    assert url.endswith(f"&redirect_uri={BACK}")
    url = consent({"authorization_url_fragment": "/oauth"})
    assert url.startswith("https://acme.test/authorize#/oauth?response_type=code&")
    url = consent({"authorization_url_replacements": {"client_id=": "app_id="}})
    assert "&app_id=client-1" in url
    assert "scope=&" in consent({"authorization_params": {"scope": ""}})
    url = consent({"authorization_params": {"scope": ""}, "authorization_url_skip_empty": True})
    assert "scope=" not in url


def test_host_of_the_consent_page_cannot_be_moved() -> None:
    entry = provider("OAUTH2", authorization_url="https://${connectionConfig.shop}.acme.test/a")
    with pytest.raises(TokenError) as raised:
        authorization_url(
            target(entry, shop="evil.test/"), state="s", redirect_uri=BACK, code_challenge=None
        )
    assert raised.value.code == "missing_connection_config"


@given(
    scopes=st.lists(st.text(min_size=1), max_size=3),
    params=st.dictionaries(st.text(min_size=1), st.text()),
)
def test_whatever_goes_into_the_address_comes_out_of_it(
    scopes: list[str], params: dict[str, str]
) -> None:
    try:
        for text in (*scopes, *params, *params.values()):
            text.encode()
    except UnicodeEncodeError:
        return
    asked = query(consent({"scope_separator": ","}, scopes=scopes, params=params))
    expected = {"scope": ",".join(scopes)} if scopes else {}
    assert {**expected, **params}.items() <= asked.items()


# Answers in other shapes.


def answering(httpserver: HTTPServer, response: Response) -> list[Request]:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        request.get_data()
        seen.append(request)
        return response

    httpserver.expect_request("/token").respond_with_handler(answer)
    return seen


@pytest.mark.parametrize(
    ("fields", "body", "content_type", "lasts"),
    [
        ({}, '{"access_token": "new", "expires_in": 60}', "application/json", 60),
        ({}, '{"access_token": "new", "expires_in": "60"}', "text/html", 60),
        ({}, "access_token=new&expires_in=60&scope=a", "application/x-www-form-urlencoded", 60),
        ({}, "access_token=new", "text/plain", None),
        ({}, '{"access_token": "new", "expires_in": 0}', "application/json", None),
        ({}, '{"access_token": "new", "expires_in": null}', "application/json", None),
        (
            {"expires_in_unit": "milliseconds"},
            '{"access_token": "new", "expires_in": 60000}',
            "application/json",
            60,
        ),
        (
            {"alternate_access_token_response_path": "authed_user.access_token"},
            '{"ok": true, "authed_user": {"access_token": "new"}}',
            "application/json",
            None,
        ),
    ],
)
async def test_answers_are_read_in_the_shapes_that_providers_have(
    tokens: TokenClient,
    clock: Clock,
    httpserver: HTTPServer,
    fields: dict[str, Any],
    body: str,
    content_type: str,
    lasts: int | None,
) -> None:
    answering(httpserver, Response(body, content_type=content_type))
    wanted = target(provider("OAUTH2", token_url=httpserver.url_for("/token"), **fields))
    refreshed = await tokens.refresh(wanted, oauth2_credentials(refresh_token="r", expires_at=1))
    assert isinstance(refreshed, OAuth2Credentials)
    assert refreshed.access_token.get_secret_value() == "new"
    assert refreshed.refresh_token is not None
    if lasts is None:
        assert refreshed.expires_at is None
    else:
        assert refreshed.expires_at is not None
        assert (refreshed.expires_at - clock.now).total_seconds() == lasts


async def test_moment_in_the_answer_counts_before_its_duration(
    tokens: TokenClient, httpserver: HTTPServer, clock: Clock
) -> None:
    at = int(clock.now.timestamp()) + 90
    answering(httpserver, Response(f'{{"access_token": "n", "expires_at": {at}, "expires_in": 1}}'))
    wanted = target(provider("OAUTH2", token_url=httpserver.url_for("/token")))
    refreshed = await tokens.refresh(wanted, oauth2_credentials(refresh_token="r"))
    assert isinstance(refreshed, OAuth2Credentials)
    assert refreshed.expires_at is not None
    assert refreshed.expires_at.timestamp() == at


async def test_refresh_has_an_address_and_parameters_of_its_own(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    seen = answering(httpserver, Response('{"access_token": "n"}'))
    entry = provider(
        "OAUTH2",
        token_url="https://unused.test/",
        refresh_url=httpserver.url_for("/token"),
        token_params={"grant_type": "odd", "a": "1"},
        refresh_params={"grant_type": "renew", "tenant": "${connectionConfig.t}"},
        token_headers={"X-Version": "2", "X-Client": "${clientId}"},
    )
    await tokens.refresh(target(entry, t="x"), oauth2_credentials(refresh_token="r"))
    assert seen[0].form.to_dict() == {
        "client_id": "client-1",
        "client_secret": "client-secret-1",
        "grant_type": "renew",
        "refresh_token": "r",
        "tenant": "x",
    }
    assert seen[0].headers["X-Version"] == "2"
    assert seen[0].headers["X-Client"] == "client-1"


async def test_token_parameters_go_along_with_a_refresh_but_for_the_kind_of_grant(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    seen = answering(httpserver, Response('{"access_token": "n"}'))
    entry = provider(
        "OAUTH2",
        token_url=httpserver.url_for("/token"),
        token_params={"grant_type": "authorization_code", "a": "1"},
    )
    await tokens.refresh(target(entry), oauth2_credentials(refresh_token="r"))
    assert seen[0].form["grant_type"] == "refresh_token"
    assert seen[0].form["a"] == "1"


async def test_custom_client_is_shown_only_by_the_entrys_words(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    seen = answering(httpserver, Response('{"access_token": "n"}'))
    entry = provider(
        "OAUTH2",
        token_url=httpserver.url_for("/token"),
        token_request_auth_method="custom",
        token_params={"app": "${clientId}", "key": "${clientSecret}"},
    )
    await tokens.refresh(target(entry), oauth2_credentials(refresh_token="r"))
    assert set(seen[0].form) == {"app", "key", "grant_type", "refresh_token"}
    assert seen[0].form["key"] == "client-secret-1"


async def test_parameters_may_go_out_as_they_are(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    seen = answering(httpserver, Response('{"access_token": "n"}'))
    entry = provider(
        "OAUTH2",
        token_url=httpserver.url_for("/token"),
        token_url_skip_encode=["refresh_token"],
    )
    await tokens.refresh(target(entry), oauth2_credentials(refresh_token="a/b:c"))
    assert b"refresh_token=a/b:c" in seen[0].get_data()


# What cannot be.


async def test_without_refresh_token_there_is_no_refresh(tokens: TokenClient) -> None:
    entry = provider("OAUTH2", token_url="https://acme.test/")
    assert not can_be_refreshed(entry, oauth2_credentials())
    assert can_be_refreshed(entry, oauth2_credentials(refresh_token="r"))
    with pytest.raises(TokenError) as raised:
        await tokens.refresh(target(entry), oauth2_credentials())
    assert (raised.value.code, raised.value.lasting) == ("missing_refresh_token", True)


async def test_keys_and_passwords_have_nothing_to_refresh(tokens: TokenClient) -> None:
    key = parse_credentials({"type": "API_KEY", "apiKey": "k"})
    entry = provider("API_KEY")
    assert not can_be_refreshed(entry, key)
    with pytest.raises(TokenError) as raised:
        await tokens.refresh(target(entry), key)
    assert raised.value.lasting


async def test_client_certificate_is_not_available(tokens: TokenClient) -> None:
    entry = provider("OAUTH2_CC", token_url="https://a.test", require_client_certificate=True)
    given = parse_credentials({"type": "OAUTH2_CC", "client_id": "c", "client_secret": "s"})
    with pytest.raises(TokenError) as raised:
        await tokens.obtain(target(entry), given)
    assert raised.value.code == "unsupported_auth"


def test_what_an_answer_says_of_the_connection_is_kept() -> None:
    raw = {"instance_url": "https://x.test", "team": {"id": "T1", "name": "n"}, "other": 1}
    kept = kept_metadata(["instance_url", "team.id", "absent"], raw)
    assert kept == {"instance_url": "https://x.test", "team": {"id": "T1"}}
