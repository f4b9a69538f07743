from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from perdure.auth.tokens import (
    AuthTarget,
    ClientCredentials,
    RequestToken,
    TokenClient,
    TokenError,
)
from perdure.connections.credentials import Credentials, parse_credentials, reveal_credentials
from perdure.errors import InvalidInputError, UpstreamError
from perdure.proxy.auth import Injection, inject, template_variables
from perdure.proxy.bodies import encode_body
from perdure.proxy.client import ProxyClient
from perdure.proxy.exchange import OutgoingRequest
from perdure.proxy.oauth1 import OAuth1Signer
from perdure.proxy.requests import HttpRequest, merge_paginate
from perdure.proxy.transport import HttpTransport
from perdure.proxy.urls import add_query
from tests.support.oauth1_server import OAuth1Server

from .conftest import CLIENT, private_pem, provider, public_pem, target

BACK = "https://perdure.test/oauth/callback?state=s-1"
METHODS = ["HMAC-SHA1", "RSA-SHA1", "PLAINTEXT"]


@pytest.fixture
def server(httpserver: HTTPServer, rsa_key: rsa.RSAPrivateKey) -> OAuth1Server:
    server = OAuth1Server(httpserver, CLIENT.client_id, CLIENT.client_secret)
    server.validator.public_key = public_pem(rsa_key)
    return server


@pytest.fixture
def client(rsa_key: rsa.RSAPrivateKey) -> ClientCredentials:
    return ClientCredentials(
        client_id=CLIENT.client_id,
        client_secret=CLIENT.client_secret,
        private_key=private_pem(rsa_key),
    )


def oauth1(server: OAuth1Server, client: ClientCredentials, **fields: Any) -> AuthTarget:
    entry = provider(
        "OAUTH1",
        request_url=server.url("/request"),
        authorization_url=server.url("/authorize"),
        token_url=server.url("/access"),
        **fields,
    )
    return target(entry, client)


async def connected(tokens: TokenClient, server: OAuth1Server, wanted: AuthTarget) -> Credentials:
    temporary = await tokens.request_token(wanted, BACK)
    callback = server.consent(tokens.consent_url(wanted, temporary))
    assert callback["state"] == "s-1"
    assert callback["oauth_token"] == temporary.token
    return await tokens.access_token(wanted, temporary, callback["oauth_verifier"])


def injection(wanted: AuthTarget, credentials: Credentials) -> Injection:
    variables = template_variables(credentials, wanted.connection_config, wanted.client)
    return inject(wanted.provider, credentials, variables, wanted.client)


def signed(wanted: AuthTarget, credentials: Credentials, request: OutgoingRequest) -> Any:
    signer = injection(wanted, credentials).signer
    assert signer is not None
    return signer(request)


@pytest.mark.parametrize("method", METHODS)
async def test_consent_gives_a_token_that_signs_requests(
    tokens: TokenClient,
    transport: HttpTransport,
    server: OAuth1Server,
    client: ClientCredentials,
    method: str,
) -> None:
    wanted = oauth1(server, client, signature_method=method)
    credentials = await connected(tokens, server, wanted)

    revealed = reveal_credentials(credentials)
    assert server.validator.tokens == {revealed["oauth_token"]: revealed["oauth_token_secret"]}
    for request in (
        OutgoingRequest("GET", server.url("/api/me"), {}),
        OutgoingRequest("GET", server.url("/api/a b/ü?q=%C3%BC&x=1+2&x=&y[]=[1]"), {}),
        OutgoingRequest(
            "POST",
            server.url("/api/post?a=1"),
            {},
            body=encode_body(
                {"text": "ä & b = c+d", "n": {"x": 1}}, "application/x-www-form-urlencoded"
            ),
        ),
        OutgoingRequest("PUT", server.url("/api/json"), {}, body=encode_body({"a": 1}, None)),
    ):
        answer = await transport.send(signed(wanted, credentials, request))
        assert (answer.status, answer.content[:11]) == (200, b'{"ok": true')
    assert len(server.passed) == 4


async def test_request_that_was_changed_after_it_was_signed_is_refused(
    tokens: TokenClient, transport: HttpTransport, server: OAuth1Server, client: ClientCredentials
) -> None:
    wanted = oauth1(server, client)
    credentials = await connected(tokens, server, wanted)
    request = signed(wanted, credentials, OutgoingRequest("GET", server.url("/api/me"), {}))
    assert (await transport.send(request)).status == 200
    # The same once more: its nonce is used up.
    assert (await transport.send(request)).status == 401
    another = signed(wanted, credentials, OutgoingRequest("GET", server.url("/api/me"), {}))
    changed = OutgoingRequest("GET", server.url("/api/me?admin=1"), another.headers)
    assert (await transport.send(changed)).status == 401


async def test_tokens_secret_of_another_account_does_not_sign(
    tokens: TokenClient, transport: HttpTransport, server: OAuth1Server, client: ClientCredentials
) -> None:
    wanted = oauth1(server, client)
    revealed = reveal_credentials(await connected(tokens, server, wanted))
    forged = parse_credentials({**revealed, "oauth_token_secret": "hunter2"})
    request = signed(wanted, forged, OutgoingRequest("GET", server.url("/api/me"), {}))
    assert (await transport.send(request)).status == 401


async def test_wrong_verifier_and_wrong_client_are_refused_for_good(
    tokens: TokenClient, server: OAuth1Server, client: ClientCredentials
) -> None:
    wanted = oauth1(server, client)
    temporary = await tokens.request_token(wanted, BACK)
    server.consent(tokens.consent_url(wanted, temporary))
    with pytest.raises(TokenError) as raised:
        await tokens.access_token(wanted, temporary, "not-the-verifier")
    assert (raised.value.status, raised.value.lasting) == (401, True)
    stranger = ClientCredentials(client_id="client-1", client_secret="hunter2")
    with pytest.raises(TokenError) as raised:
        await tokens.request_token(oauth1(server, stranger), BACK)
    assert "hunter2" not in raised.value.message


async def test_answer_may_be_json_and_what_else_it_says_is_kept(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    answer = {"oauth_token": "t", "oauth_token_secret": "s", "user_id": "7"}
    httpserver.expect_request("/access", method="GET").respond_with_json(answer)
    entry = provider("OAUTH1", token_url=httpserver.url_for("/access"), token_http_method="GET")
    temporary = await _temporary(tokens, httpserver)
    credentials = await tokens.access_token(target(entry), temporary, "v")
    assert reveal_credentials(credentials) == {
        "type": "OAUTH1",
        "oauth_token": "t",
        "oauth_token_secret": "s",
        "raw": answer,
    }


async def _temporary(tokens: TokenClient, httpserver: HTTPServer) -> Any:
    body = "oauth_token=x&oauth_token_secret=y&oauth_callback_confirmed=true"
    httpserver.expect_request("/request").respond_with_data(body)
    entry = provider("OAUTH1", request_url=httpserver.url_for("/request"))
    return await tokens.request_token(target(entry), BACK)


async def test_refusal_in_an_answer_that_says_all_is_well_is_seen(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/request").respond_with_data("oauth_problem=consumer_key_unknown")
    entry = provider("OAUTH1", request_url=httpserver.url_for("/request"))
    with pytest.raises(TokenError) as raised:
        await tokens.request_token(target(entry), BACK)
    assert raised.value.lasting


def test_consent_page_gets_the_token_and_the_entrys_parameters(tokens: TokenClient) -> None:
    entry = provider(
        "OAUTH1",
        authorization_url="https://acme.test/authorize?a=1",
        authorization_params={"name": "${connectionConfig.app}", "expiration": "never"},
    )
    url = tokens.consent_url(
        target(entry, app="P"), RequestToken("t-1", "s"), {"expiration": None, "scope": "read"}
    )
    query = parse_qs(urlsplit(url).query)
    assert query == {"a": ["1"], "name": ["P"], "oauth_token": ["t-1"], "scope": ["read"]}


# Token-based authentication.


@pytest.mark.parametrize(
    ("account", "realm"),
    [("1234567", "1234567"), ("1234567-sb1", "1234567_SB1"), ("1234567_SB1", "1234567_SB1")],
)
async def test_tba_signs_by_sha256_and_names_its_account(
    transport: HttpTransport, server: OAuth1Server, account: str, realm: str
) -> None:
    server.realm = realm
    server.validator.tokens["token-id"] = "token-secret"
    value = {"type": "TBA", "token_id": "token-id", "token_secret": "token-secret"}
    credentials = parse_credentials(value)
    wanted = target(provider("TBA"), accountId=account)
    request = signed(
        wanted, credentials, OutgoingRequest("GET", server.url("/api/records?limit=5"), {})
    )
    assert 'oauth_signature_method="HMAC-SHA256"' in request.headers["authorization"]
    assert (await transport.send(request)).status == 200


async def test_tba_connection_may_bring_its_client_along(
    transport: HttpTransport, server: OAuth1Server
) -> None:
    server.validator.tokens["token-id"] = "token-secret"
    credentials = parse_credentials(
        {
            "type": "TBA",
            "token_id": "token-id",
            "token_secret": "token-secret",
            "config_override": {
                "client_id": CLIENT.client_id,
                "client_secret": CLIENT.client_secret,
            },
        }
    )
    wanted = target(provider("TBA"), ClientCredentials())
    request = signed(wanted, credentials, OutgoingRequest("GET", server.url("/api/me"), {}))
    assert (await transport.send(request)).status == 200


# Through the client that scripts and the proxy use.


@pytest.mark.parametrize(
    "request_fields",
    [
        {"endpoint": "/api/items", "params": {"q": "a b&c", "ids": ["1", "2"]}},
        {"endpoint": "/api/items/ü 1?x=[1]"},
        {
            "method": "POST",
            "endpoint": "/api/items",
            "data": {"text": "a b+c", "list": ["1", "2"]},
            "headers": {"content-type": "application/x-www-form-urlencoded"},
        },
        {"method": "POST", "endpoint": "/api/items", "data": {"text": "json"}},
    ],
    ids=str,
)
async def test_requests_of_scripts_are_signed_with_the_integrations_client(
    transport: HttpTransport, server: OAuth1Server, request_fields: dict[str, Any]
) -> None:
    server.validator.tokens["token"] = "token-secret"
    credentials = parse_credentials(
        {"type": "OAUTH1", "oauth_token": "token", "oauth_token_secret": "token-secret"}
    )
    entry = provider("OAUTH1", proxy={"base_url": server.url("").rstrip("/"), "query": {"v": "1"}})
    proxy = ProxyClient(transport)

    async def send(client: ClientCredentials | None) -> int:
        answer = await proxy.send(
            HttpRequest.model_validate(request_fields),
            provider=entry,
            credentials=credentials,
            connection_config={},
            client=client,
        )
        return answer.status

    assert await send(CLIENT) == 200
    assert "v=1" in server.passed[0]
    with pytest.raises(InvalidInputError) as refused:
        await send(None)
    assert refused.value.code == "missing_client"
    stranger = ClientCredentials(client_id="client-1", client_secret="hunter2")
    with pytest.raises(UpstreamError) as raised:
        await send(stranger)
    assert raised.value.status == 401


async def test_pages_of_scripts_are_signed_too(
    transport: HttpTransport, server: OAuth1Server
) -> None:
    server.validator.tokens["token"] = "token-secret"
    credentials = parse_credentials(
        {"type": "OAUTH1", "oauth_token": "token", "oauth_token_secret": "token-secret"}
    )
    page = await ProxyClient(transport).fetch_page(
        HttpRequest(endpoint="/api/items"),
        merge_paginate(
            None,
            {
                "type": "offset",
                "offset_name_in_request": "offset",
                "limit": 2,
                "limit_name_in_request": "limit",
                "response_path": "items",
            },
        ),
        provider=provider("OAUTH1", proxy={"base_url": server.url("").rstrip("/")}),
        credentials=credentials,
        connection_config={},
        client=CLIENT,
    )
    assert page.items == []
    assert server.passed == ["/api/items?limit=2&offset=0"]


# What is signed, without HTTP between.


@given(
    query=st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=4),
    form=st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=4),
    path=st.text(max_size=12),
    secret=st.text(
        alphabet=st.characters(min_codepoint=32, max_codepoint=255), min_size=1, max_size=12
    ),
)
def test_whatever_is_sent_its_signature_is_verified(
    query: dict[str, str], form: dict[str, str], path: str, secret: str
) -> None:
    try:
        "".join((path, *query, *query.values(), *form, *form.values())).encode()
    except UnicodeEncodeError:
        return
    server = OAuth1Server(HTTPServer(), "client", secret)
    server.validator.tokens["token"] = secret
    signer = OAuth1Signer("client", secret, "token", secret)
    path = path.replace("?", "").replace("#", "").replace("\\", "")
    for unseen in (*map(chr, range(33)), "\x7f"):
        path = path.replace(unseen, "")
    url = add_query(f"http://acme.test/x{path}", query.items())
    content_type = "application/x-www-form-urlencoded"
    body = encode_body(form, content_type)
    request = signer(OutgoingRequest("POST", url, {}, body=body))
    headers = {
        "Authorization": request.headers["authorization"],
        "Content-Type": content_type,
    }
    assert server.verifies("POST", request.url, body.content.decode(), headers)


def test_json_body_is_not_signed() -> None:
    signer = OAuth1Signer("client", "secret", "token", "secret")
    request = signer(
        OutgoingRequest("POST", "https://acme.test/", {}, body=encode_body({"a": 1}, None))
    )
    assert "oauth_body_hash" not in request.headers["authorization"]


def test_header_is_left_behind_when_a_redirect_leaves_the_origin() -> None:
    signer = OAuth1Signer("client", "secret", "token", "secret")
    request = signer(OutgoingRequest("GET", "https://acme.test/", {"accept": "x"}))
    assert request.secret_headers == {"authorization"}
    assert request.headers["accept"] == "x"


def test_secrets_stay_out_of_repr() -> None:
    signer = OAuth1Signer("client", "hunter2", "hunter3", "hunter4", private_key="hunter5")
    assert "hunter" not in repr(signer)


def test_what_cannot_be_signed_is_said_without_the_key() -> None:
    signer = OAuth1Signer("client", method="RSA-SHA1", private_key="hunter2")
    with pytest.raises(InvalidInputError) as raised:
        signer(OutgoingRequest("GET", "https://acme.test/", {}))
    assert raised.value.code == "invalid_credentials"
    assert raised.value.__cause__ is None
    with pytest.raises(InvalidInputError) as raised:
        OAuth1Signer("client", method="MD5")(OutgoingRequest("GET", "https://acme.test/", {}))
    assert raised.value.code == "unsupported_auth"
