"""Accounts of every kind are connected at providers that check what comes."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.auth.own_tokens import password_digest
from tests.api.connects import (
    APP_KEY,
    APP_PUBLIC_KEY,
    CLIENT,
    issuer_of,
    leave,
    make,
    only_connection,
    session,
)
from tests.support.oauth1_server import OAuth1Server

_LABEL = re.compile(r'<label for="(field-\d+)">([^<]+?)(?: <small>.*?</small>)?</label>')
_INPUT = re.compile(r'<input id="(field-\d+)" name="([^"]+)" type="([^"]+)" value="([^"]*)"')


class Form:
    """The form that an end user sees, and what they fill in."""

    def __init__(self, browser: httpx.AsyncClient, page: str, path: str, token: str) -> None:
        self._browser, self._path = browser, path
        inputs = {place: found for place, *found in _INPUT.findall(page)}
        self.labels = {label: inputs[place][0] for place, label in _LABEL.findall(page)}
        self.kinds = {name: kind for name, kind, _ in inputs.values()}
        self._values = {"session_token": token} | {n: value for n, _, value in inputs.values()}

    async def send(self, **by_label: str) -> httpx.Response:
        """Fill in by label, with an underscore for each space, and press the button."""
        filled = {self.labels[label.replace("_", " ")]: text for label, text in by_label.items()}
        return await self._browser.post(self._path, data=self._values | filled)


async def form_of(shop: httpx.AsyncClient, browser: httpx.AsyncClient, key: str) -> Form:
    token, path = await session(shop), f"/connect/integrations/{key}"
    page = await browser.get(path, params={"session_token": token})
    assert page.status_code == 200, page.text
    return Form(browser, page.text, path, token)


async def nothing_is_connected(shop: httpx.AsyncClient) -> bool:
    return (await shop.get("/connections")).json() == {"connections": []}


# Consent pages.


APP = {
    "type": "APP",
    "app_id": "app-1",
    "app_link": "https://github.example/apps/ours",
    "private_key": APP_KEY,
}


class Installations:
    """Gives tokens of installations to whoever shows the JWT of the app."""

    def __init__(self, server: HTTPServer) -> None:
        self.claims: list[dict[str, Any]] = []
        server.expect_request("/app/77/tokens", method="POST").respond_with_handler(self._token)
        good = {"Authorization": "Bearer of-77"}
        server.expect_request("/repositories", headers=good).respond_with_json({})
        server.expect_request("/repositories").respond_with_json({}, status=401)

    def _token(self, request: Request) -> Response:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            read = jwt.decode(token, RSAKey.import_key(_public(APP_PUBLIC_KEY)), ["RS256"])
        except JoseError as error:
            return Response(str(error), 401)
        self.claims.append(read.claims)
        content = '{"token": "of-77", "expires_at": "2099-01-01T00:00:00Z"}'
        return Response(content, 201, content_type="application/json")


async def test_app_is_installed_and_connected(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-app", credentials=APP)
    installations = Installations(httpserver)
    asked = await leave(browser, await session(shop), "local-app", issuer_of(httpserver))

    answer = await browser.get(
        "/app-auth/connect",
        params={"state": asked["state"], "installation_id": "77", "setup_action": "install"},
    )

    assert answer.status_code == 200, answer.text
    assert installations.claims[0]["iss"] == "app-1"
    connection = await only_connection(shop)
    assert connection["credentials"]["access_token"] == "of-77"
    assert connection["connection_config"]["installation_id"] == "77"


async def test_installation_of_somebody_else_is_not_connected(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-app", credentials=APP)
    Installations(httpserver)
    issuer = issuer_of(httpserver)

    async def connect(**body: Any) -> httpx.Response:
        asked = await leave(browser, await session(shop, **body), "local-app", issuer)
        params = {"state": asked["state"], "installation_id": "77"}
        return await browser.get("/app-auth/connect", params=params)

    acme, other = ({"organization": {"id": name}} for name in ("acme", "other"))
    assert (await connect(end_user={"id": "u1"}, **acme)).status_code == 200
    asked_before = len(httpserver.log)

    foreign = [
        await connect(end_user={"id": "u2"}),
        await connect(end_user={"id": "u1"}, **other),
        await connect(end_user=None, tags={"plan": "pro"}),
    ]

    assert [answer.status_code for answer in foreign] == [409, 409, 409]
    assert "installation_already_connected" in foreign[0].text
    assert len(httpserver.log) == asked_before
    said = {"local-app": {"connection_config": {"installation_id": "77"}}}
    assert (await connect(end_user={"id": "u2"}, **acme)).status_code == 200
    named = await connect(end_user={"id": "u3"}, integrations_config_defaults=said)
    assert named.status_code == 200
    assert (await connect(end_user={"id": "u1"})).status_code == 200
    assert (await connect(end_user={"id": "u4"})).status_code == 409


async def test_app_that_was_only_asked_for_is_not_connected(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-app", credentials=APP)
    asked = await leave(browser, await session(shop), "local-app", issuer_of(httpserver))

    answer = await browser.get(
        "/app-auth/connect", params={"state": asked["state"], "setup_action": "request"}
    )

    assert answer.status_code == 400
    assert "installation_pending" in answer.text
    assert await nothing_is_connected(shop)


async def test_account_is_connected_at_a_provider_that_checks_signatures(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    provider = OAuth1Server(httpserver, CLIENT["client_id"], CLIENT["client_secret"])
    provider.validator.callbacks = "https://api.example.com/oauth/callback?state="
    await make(shop, "local-oauth1", credentials=CLIENT | {"type": "OAUTH1"})
    params = {
        "connect_session_token": await session(shop),
        "params[issuer]": issuer_of(httpserver),
    }

    left = await browser.get("/oauth/connect/local-oauth1", params=params)
    assert left.status_code == 302, left.text
    back = provider.consent(left.headers["location"])
    done = await browser.get("/oauth/callback", params=back)

    assert done.status_code == 200, done.text
    credentials = (await only_connection(shop))["credentials"]
    assert provider.validator.tokens == {
        credentials["oauth_token"]: credentials["oauth_token_secret"]
    }
    # The request that checks the account was signed with them.
    assert provider.passed == ["/api/me"]


async def test_wrong_verifier_connects_nothing(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    provider = OAuth1Server(httpserver, CLIENT["client_id"], CLIENT["client_secret"])
    provider.validator.callbacks = "https://api.example.com/oauth/callback?state="
    await make(shop, "local-oauth1", credentials=CLIENT | {"type": "OAUTH1"})
    params = {
        "connect_session_token": await session(shop),
        "params[issuer]": issuer_of(httpserver),
    }

    left = await browser.get("/oauth/connect/local-oauth1", params=params)
    back = provider.consent(left.headers["location"]) | {"oauth_verifier": "guessed"}
    done = await browser.get("/oauth/callback", params=back)

    assert done.status_code == 502
    assert "guessed" not in done.text
    assert await nothing_is_connected(shop)


async def test_account_is_connected_with_a_client_of_its_own(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    theirs = {"Authorization": f"Basic {b64encode(b'theirs:their-secret').decode()}"}
    httpserver.expect_request("/token", headers=theirs).respond_with_json(
        {"access_token": "a", "refresh_token": "r", "expires_in": 3600}
    )
    own = {
        "credentials[oauth_client_id_override]": "theirs",
        "credentials[oauth_client_secret_override]": "their-secret",
    }
    asked = await leave(browser, await session(shop), "local-oauth2", issuer_of(httpserver), **own)
    done = await browser.get("/oauth/callback", params={"state": asked["state"], "code": "c"})

    assert asked["client_id"] == "theirs"
    assert done.status_code == 200, done.text
    connection = await only_connection(shop)
    override = {"client_id": "theirs", "client_secret": "their-secret"}
    assert connection["credentials"]["config_override"] == override
    # Its tokens are refreshed with that client, too.
    query = {"provider_config_key": "local-oauth2", "force_refresh": "true"}
    answer = await shop.get(f"/connections/{connection['connection_id']}", params=query)
    assert answer.status_code == 200, answer.text


async def test_client_of_an_account_has_its_secret(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)

    answer = await browser.get(
        "/oauth/connect/local-oauth2",
        params={
            "connect_session_token": await session(shop),
            "params[issuer]": issuer_of(httpserver),
            "credentials[oauth_client_id_override]": "theirs",
        },
    )

    assert answer.status_code == 400
    assert "oauth_client_secret_override" in answer.text


async def test_token_of_an_account_signs_with_a_client_of_its_own(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    provider = OAuth1Server(httpserver, "theirs", "their-secret")
    provider.validator.tokens["token-1"] = "secret-1"
    await make(shop, "local-tba", credentials=CLIENT | {"type": "TBA"})

    answer = await browser.post(
        "/auth/tba/local-tba",
        params={
            "connect_session_token": await session(shop),
            "params[issuer]": issuer_of(httpserver),
            "params[accountId]": "ACME",
        },
        json={
            "token_id": "token-1",
            "token_secret": "secret-1",
            "oauth_client_id_override": "theirs",
            "oauth_client_secret_override": "their-secret",
        },
    )

    assert answer.status_code == 200, answer.text
    assert provider.passed == ["/api/me"]


# Forms.


async def test_token_is_got_for_what_was_filled_in(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-two-step")
    httpserver.expect_request("/signin", json={"user": "ann", "pass": "p 1"}).respond_with_json(
        {"data": {"token": "t-1"}}
    )
    httpserver.expect_request("/signin").respond_with_json({"error": "wrong"}, status=401)
    httpserver.expect_request("/me", headers={"Authorization": "Token t-1"}).respond_with_json({})
    form = await form_of(shop, browser, "local-two-step")

    refused = await form.send(Address=issuer_of(httpserver), Account="ann", Passphrase="no")
    left_out = await form.send(Address=issuer_of(httpserver), Account="ann", Passphrase="")
    done = await form.send(Address=issuer_of(httpserver), Account="ann", Passphrase="p 1")

    assert list(form.labels) == ["Address", "Account", "Passphrase", "Hint"]
    assert form.kinds["pass"] == "password"
    assert refused.status_code == 400
    assert "wrong" in refused.text
    assert 'value="ann"' in refused.text
    assert left_out.status_code == 400
    assert "pass: It is missing" in left_out.text
    assert done.status_code == 200, done.text
    credentials = (await only_connection(shop))["credentials"]
    assert (credentials["token"], credentials["user"]) == ("t-1", "ann")


@pytest.mark.parametrize("between", ["\n", " ", ""], ids=["lines", "blanks", "nothing"])
async def test_key_that_was_pasted_signs_tokens(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer, between: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()

    def check(request: Request) -> Response:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            read = jwt.decode(token, ECKey.import_key(_public(key.public_key())), ["ES256"])
        except JoseError as error:
            return Response(str(error), 401)
        good = read.header["kid"] == "key-1" and read.claims["aud"] == "local"
        return Response("{}", 200 if good else 401, content_type="application/json")

    await make(shop, "local-jwt")
    httpserver.expect_request("/me").respond_with_handler(check)
    form = await form_of(shop, browser, "local-jwt")

    wrong = await form.send(
        Address=issuer_of(httpserver), Key_ID="key-1", Private_key="no key of mine"
    )
    done = await form.send(
        Address=issuer_of(httpserver), Key_ID="key-1", Private_key=between.join(pem.split("\n"))
    )

    assert wrong.status_code == 400
    assert "no key of mine" not in wrong.text
    assert done.status_code == 200, done.text
    assert len(httpserver.log) == 1
    assert (await only_connection(shop))["credentials"]["keyId"] == "key-1"


async def test_token_of_an_account_signs_with_the_integrations_client(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    provider = OAuth1Server(httpserver, CLIENT["client_id"], CLIENT["client_secret"])
    provider.validator.tokens["token-1"] = "secret-1"
    provider.realm = "ACME_1"
    await make(shop, "local-tba", credentials=CLIENT | {"type": "TBA"})
    form = await form_of(shop, browser, "local-tba")
    filled = {"Address": issuer_of(httpserver), "Account": "ACME_1", "Token_id": "token-1"}

    wrong = await form.send(**filled, Token_secret="other")
    done = await form.send(**filled, Token_secret="secret-1")

    assert wrong.status_code == 400
    assert done.status_code == 200, done.text
    assert provider.passed == ["/api/me"]
    assert (await only_connection(shop))["credentials"]["token_id"] == "token-1"


async def test_password_signs_and_is_not_sent(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    def check(request: Request) -> Response:
        said = dict(re.findall(r'(\w+)="([^"]*)"', request.headers["X-Wsse"]))
        digest = password_digest(said["Nonce"], said["Created"], "pass-1")
        good = (said["Username"], said["PasswordDigest"]) == ("ann", digest)
        return Response("{}", 200 if good else 401, content_type="application/json")

    await make(shop, "local-signature")
    httpserver.expect_request("/me").respond_with_handler(check)
    form = await form_of(shop, browser, "local-signature")

    wrong = await form.send(Address=issuer_of(httpserver), User_name="ann", Password="pass-2")
    done = await form.send(Address=issuer_of(httpserver), User_name="ann", Password="pass-1")

    assert wrong.status_code == 400
    assert done.status_code == 200, done.text
    assert all("pass-1" not in str(request.headers) for request, _ in httpserver.log)
    assert (await only_connection(shop))["credentials"]["username"] == "ann"


def _public(key: Any) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
