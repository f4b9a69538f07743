import json
from datetime import timedelta
from typing import Any

import pytest
import xmltodict
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.auth.tokens import TokenClient, TokenError, can_be_refreshed
from perdure.connections.credentials import (
    Credentials,
    access_token_of,
    expires_at_of,
    parse_credentials,
    reveal_credentials,
)
from perdure.proxy.auth import Injection, inject, template_variables

from .conftest import Clock, private_pem, provider, public_pem, target


class Sessions:
    """Gives sessions for a user name and a password; a refresh token works once."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("").rstrip("/")
        self.requests: list[Request] = []
        self.given = 0
        self.refresh_tokens: set[str] = set()
        self.up = True
        server.expect_request("/login").respond_with_handler(self._login)
        server.expect_request("/renew").respond_with_handler(self._renew)

    def _login(self, request: Request) -> Response:
        sent = request.get_json() if request.is_json else request.values.to_dict()
        self.requests.append(request)
        if (sent.get("user"), sent.get("password")) != ("ada", "pw"):
            return Response('{"message": "no such user: ada / pw"}', 401)
        return self._session()

    def _renew(self, request: Request) -> Response:
        self.requests.append(request)
        token = request.get_json()["refresh"]
        if not self.up:
            return Response("busy", 503, {"retry-after": "7"})
        if token not in self.refresh_tokens:
            return Response('{"error": "invalid_grant"}', 400)
        self.refresh_tokens.discard(token)
        return self._session()

    def _session(self) -> Response:
        self.given += 1
        self.refresh_tokens.add(f"r-{self.given}")
        body = {
            "data": {
                "session": f"s-{self.given}",
                "expires": "2031-01-01T00:00:00Z",
                "lasts": 90,
                "refresh": f"r-{self.given}",
            }
        }
        return Response(json.dumps(body), content_type="application/json")


@pytest.fixture
def sessions(httpserver: HTTPServer) -> Sessions:
    return Sessions(httpserver)


def entry_of(sessions: Sessions, **fields: Any) -> Any:
    return provider(
        "TWO_STEP",
        **{
            "token_url": f"{sessions.url}/login",
            "token_params": {
                "user": "${credentials.username}",
                "password": "${credentials.password}",
            },
            "token_response": {
                "token": "data.session",
                "token_expiration": "data.expires",
                "token_expiration_strategy": "expireAt",
            },
            **fields,
        },
    )


REFRESHING: dict[str, Any] = {
    "token_response": {
        "token": "data.session",
        "token_expiration": "data.lasts",
        "token_expiration_strategy": "expireIn",
        "refresh_token": "data.refresh",
    },
    "refresh_token_params": {"refresh": "${credentials.refresh_token}"},
    "refresh_token_headers": {"x-old": "${accessToken}"},
}


def given(**fields: Any) -> Credentials:
    return parse_credentials({"type": "TWO_STEP", "username": "ada", "password": "pw", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"body_format": "form"},
        {"body_format": "query"},
        {"token_request_method": "GET"},
        {"token_request_method": "PUT"},
    ],
    ids=str,
)
async def test_inputs_are_sent_in_every_way_and_give_a_token(
    tokens: TokenClient, sessions: Sessions, fields: dict[str, Any]
) -> None:
    entry = entry_of(sessions, token_headers={"X-App": "${connectionConfig.app}"}, **fields)
    obtained = await tokens.obtain(target(entry, app="p"), given())

    revealed = reveal_credentials(obtained)
    assert revealed["token"] == "s-1"
    assert revealed["expires_at"] == "2031-01-01T00:00:00.000Z"
    assert revealed["password"] == "pw"
    assert revealed["raw"]["data"]["session"] == "s-1"
    assert "refresh_token" not in revealed
    assert sessions.requests[0].headers["X-App"] == "p"
    assert sessions.requests[0].method == fields.get("token_request_method", "POST")


async def test_wrong_password_is_refused_for_good_and_not_told(
    tokens: TokenClient, sessions: Sessions
) -> None:
    with pytest.raises(TokenError, match="no such user") as raised:
        await tokens.obtain(target(entry_of(sessions)), given(password="hunter2"))
    assert (raised.value.status, raised.value.lasting) == (401, True)
    assert "hunter2" not in f"{raised.value.message}{raised.value.body}"


async def test_refresh_token_is_used_where_the_provider_takes_one(
    tokens: TokenClient, sessions: Sessions, clock: Clock
) -> None:
    entry = entry_of(sessions, refresh_url=f"{sessions.url}/renew", **REFRESHING)
    first = await tokens.obtain(target(entry), given())
    assert expires_at_of(first) == clock.now + timedelta(seconds=90)
    second = await tokens.refresh(target(entry), first)

    assert access_token_of(second) == "s-2"
    assert reveal_credentials(second)["refresh_token"] == "r-2"
    assert [request.path for request in sessions.requests] == ["/login", "/renew"]
    assert sessions.requests[1].headers["X-Old"] == "s-1"
    assert can_be_refreshed(entry, second)


async def test_refresh_token_that_is_refused_is_replaced_by_the_inputs(
    tokens: TokenClient, sessions: Sessions
) -> None:
    entry = entry_of(sessions, refresh_url=f"{sessions.url}/renew", **REFRESHING)
    stale = given(token="s-0", refresh_token="r-0")
    assert access_token_of(await tokens.refresh(target(entry), stale)) == "s-1"
    assert [request.path for request in sessions.requests] == ["/renew", "/login"]


async def test_busy_server_is_not_asked_in_another_way(
    tokens: TokenClient, sessions: Sessions
) -> None:
    entry = entry_of(sessions, refresh_url=f"{sessions.url}/renew", **REFRESHING)
    sessions.up = False
    with pytest.raises(TokenError) as raised:
        await tokens.refresh(target(entry), given(token="s-0", refresh_token="r-0"))
    assert (raised.value.lasting, raised.value.retry_after) == (False, 7.0)
    assert [request.path for request in sessions.requests] == ["/renew"]


async def test_without_refresh_token_the_inputs_are_sent_again(
    tokens: TokenClient, sessions: Sessions
) -> None:
    entry = entry_of(sessions)
    first = await tokens.obtain(target(entry), given())
    second = await tokens.refresh(target(entry), first)
    assert access_token_of(second) == "s-2"


async def test_further_steps_name_what_came_before(
    tokens: TokenClient, sessions: Sessions, httpserver: HTTPServer, clock: Clock
) -> None:
    seen: list[Request] = []

    def exchange(request: Request) -> Response:
        seen.append(request)
        right = request.get_json() == {"ticket": "s-1", "nested": [{"for": "ada"}], "n": 1}
        return Response('{"jwt": "final", "user": {"id": 7}}', 200 if right else 403)

    httpserver.expect_request("/exchange").respond_with_handler(exchange)
    httpserver.expect_request("/users/7").respond_with_json({"key": "k-7"})
    entry = entry_of(
        sessions,
        token_response={"token": "key"},
        token_expires_in_ms=120_000,
        additional_steps=[
            {
                "token_url": f"{sessions.url}/exchange",
                "token_headers": {"authorization": "Session ${step1.data.session}"},
                "token_params": {
                    "ticket": "${step1.data.session}",
                    "nested": [{"for": "${credentials.username}"}],
                    "n": 1,
                    "left_out": "${step2.jwt}",
                },
            },
            {
                "token_url": f"{sessions.url}/users/${{step2.user.id}}",
                "token_request_method": "GET",
            },
        ],
    )
    obtained = await tokens.obtain(target(entry), given())
    assert access_token_of(obtained) == "k-7"
    assert expires_at_of(obtained) == clock.now + timedelta(minutes=2)
    assert seen[0].headers["authorization"] == "Session s-1"


async def test_step_that_is_refused_ends_it(
    tokens: TokenClient, sessions: Sessions, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/exchange").respond_with_data("closed", status=403)
    entry = entry_of(sessions, additional_steps=[{"token_url": f"{sessions.url}/exchange"}])
    with pytest.raises(TokenError, match="403"):
        await tokens.obtain(target(entry), given())


@pytest.mark.parametrize(
    ("body", "path", "content_type"),
    [
        ("plain-token\n", "", "text/plain"),
        ('"plain-token"', "", "application/json"),
        ('{"a": {"b": [{"c": "plain-token"}]}}', "a.b.0.c", "application/json"),
        ('{"a": "plain-token"}', "a", "text/html"),
        ("<r><a n='1'>plain-token</a></r>", "r.a", "text/xml"),
        ("sid=plain-token&ok=1", "sid", "text/plain"),
    ],
)
async def test_token_is_found_in_answers_of_every_shape(
    tokens: TokenClient, httpserver: HTTPServer, body: str, path: str, content_type: str
) -> None:
    httpserver.expect_request("/login").respond_with_data(body, content_type=content_type)
    url = httpserver.url_for("/login")
    entry = provider("TWO_STEP", token_url=url, token_response={"token": path})
    obtained = await tokens.obtain(target(entry), given())
    assert access_token_of(obtained) == "plain-token"
    # It can be stored and read again.
    assert access_token_of(parse_credentials(reveal_credentials(obtained))) == "plain-token"


async def test_xml_is_sent_and_read(tokens: TokenClient, httpserver: HTTPServer) -> None:
    def login(request: Request) -> Response:
        sent = xmltodict.parse(request.get_data())
        right = sent["request"]["login"] == {"@type": "basic", "user": "a<d&a", "password": "pw"}
        body = "<answer><session><id>s-1</id></session></answer>" if right else "<error/>"
        assert request.headers["content-type"].startswith("text/xml")
        return Response(body, content_type="application/xml")

    httpserver.expect_request("/login").respond_with_handler(login)
    entry = provider(
        "TWO_STEP",
        token_url=httpserver.url_for("/login"),
        body_format="xml",
        token_params={
            "request": {
                "login": {
                    "@type": "basic",
                    "user": "${credentials.username}",
                    "password": "${credentials.password}",
                }
            }
        },
        token_response={"token": "answer.session.id"},
    )
    obtained = await tokens.obtain(target(entry), given(username="a<d&a"))
    assert access_token_of(obtained) == "s-1"
    with pytest.raises(TokenError):
        await tokens.obtain(target(entry), given(username="else"))


async def test_entities_of_an_answer_are_not_expanded(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x><t>&b;</t></x>'
    httpserver.expect_request("/login").respond_with_data(bomb, content_type="text/xml")
    entry = provider(
        "TWO_STEP", token_url=httpserver.url_for("/login"), token_response={"token": "x.t"}
    )
    with pytest.raises(TokenError):
        await tokens.obtain(target(entry), given())


async def test_assertion_of_a_service_account_is_verified(
    tokens: TokenClient, httpserver: HTTPServer, rsa_key: rsa.RSAPrivateKey, clock: Clock
) -> None:
    seen: list[dict[str, Any]] = []

    def token(request: Request) -> Response:
        assert request.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        read = jwt.decode(request.form["assertion"], RSAKey.import_key(public_pem(rsa_key)))
        seen.append(read.claims)
        return Response('{"access_token": "ya29", "expires_in": 3599}')

    httpserver.expect_request("/token").respond_with_handler(token)
    url = httpserver.url_for("/token")
    entry = provider(
        "TWO_STEP",
        token_url=url,
        body_format="form",
        token_params={
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": "${credentials.assertion}",
        },
        assertion={
            "signature": {"protocol": "RSA"},
            "token": {
                "signing_key": "${credentials.private_key}",
                "expires_in_ms": 3_600_000,
                "payload": {
                    "iss": "${credentials.client_email}",
                    "scope": "${connectionConfig.scope}",
                    "aud": url,
                },
            },
        },
        token_response={"token": "access_token", "token_expiration": "expires_in"},
    )
    account = parse_credentials(
        {
            "type": "TWO_STEP",
            "client_email": "robot@acme.test",
            "private_key": private_pem(rsa_key).replace("\n", "\\n"),
        }
    )
    obtained = await tokens.obtain(target(entry, scope="drive"), account)
    assert access_token_of(obtained) == "ya29"
    now = int(clock.now.timestamp())
    assert seen == [
        {
            "iss": "robot@acme.test",
            "scope": "drive",
            "aud": url,
            "iat": now,
            "exp": now + 3600,
        }
    ]
    assert "assertion" not in reveal_credentials(obtained)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"token_response": {"token": "t"}}, "incomplete_provider"),
        ({"token_url": "https://acme.test/"}, "incomplete_provider"),
        (
            {
                "token_url": "https://acme.test/",
                "token_response": {"token": "t"},
                "assertion": {"saml": {}},
            },
            "unsupported_auth",
        ),
    ],
)
async def test_incomplete_entry_is_said(
    tokens: TokenClient, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(TokenError) as raised:
        await tokens.obtain(target(provider("TWO_STEP", **fields)), given())
    assert (raised.value.code, raised.value.lasting) == (code, True)


# How the token goes into requests.


def injected(**fields: Any) -> Injection:
    credentials = given(token="s-1")
    entry = provider("TWO_STEP", **fields)
    return inject(entry, credentials, template_variables(credentials, {}))


def test_token_is_a_bearer_unless_the_entry_says_where_it_goes() -> None:
    bearer = {"authorization": "Bearer s-1"}
    assert injected().headers == bearer
    assert injected(proxy={"headers": {"x-version": "1"}}).headers == {**bearer, "x-version": "1"}
    placed = injected(proxy={"headers": {"cookie": "sid=${accessToken}"}})
    assert placed.headers == {"cookie": "sid=s-1"}
    assert placed.secret_headers == {"cookie"}
    assert injected(proxy={"headers": {"x-session": "${credentials.token}"}}).headers == {
        "x-session": "s-1"
    }
    assert injected(proxy={"query": {"sid": "${accessToken}"}}) == Injection(query={"sid": "s-1"})
    own = injected(proxy_header_authorization="Session ${accessToken}")
    assert own.headers == {"authorization": "Session s-1"}
    assert own.secret_headers == {"authorization"}
