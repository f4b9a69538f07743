"""Connect sessions, and accounts that end users connect in them."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

import httpx
import pytest
from pytest_httpserver import HTTPServer

from tests.api.calls import error_of
from tests.api.connects import (
    CLIENT,
    issuer_of,
    leave,
    make,
    only_connection,
    query_of,
    session,
)
from tests.support.stack import Stack


async def test_session_is_made_shown_and_ended(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    await make(shop, "local-key")
    body = {
        "end_user": {"id": "u1", "email": "u@example.com"},
        "organization": {"id": "o1", "display_name": "Acme"},
        "allowed_integrations": ["local-key"],
        "tags": {"plan": "pro"},
    }
    made = (await shop.post("/connect/sessions", json=body)).json()["data"]
    bearer = {"authorization": f"Bearer {made['token']}"}

    shown = (await browser.get("/connect/session", headers=bearer)).json()["data"]
    ended = await browser.delete("/connect/session", headers=bearer)

    assert re.fullmatch(r"nango_connect_session_[0-9a-f]{64}", made["token"])
    assert made["connect_link"].startswith("https://api.example.com/connect?session_token=")
    assert shown["endUser"]["organization"] == {"id": "o1", "display_name": "Acme"}
    assert shown["allowed_integrations"] == ["local-key"]
    assert ended.status_code == 204
    after = await browser.get("/connect/session", headers=bearer)
    assert error_of(after) == (401, "unknown_connect_session")


async def test_session_is_for_somebody(shop: httpx.AsyncClient) -> None:
    answer = await shop.post("/connect/sessions", json={})

    assert error_of(answer) == (400, "invalid_body")


async def test_session_names_integrations_that_there_are(shop: httpx.AsyncClient) -> None:
    answer = await shop.post(
        "/connect/sessions", json={"tags": {}, "allowed_integrations": ["nothing"]}
    )

    assert error_of(answer) == (400, "invalid_body")
    assert answer.json()["error"]["errors"][0]["path"] == ["allowed_integrations", 0]


async def test_key_of_the_environment_is_no_session(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, stack: Stack
) -> None:
    answer = await browser.get(
        "/connect/session", headers={"authorization": f"Bearer {stack.secret_key}"}
    )
    assert error_of(answer) == (401, "unknown_connect_session")

    token = await session(shop)
    answer = await browser.get("/connections", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_account_is_connected_by_oauth2(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT | {"scopes": "a,b"})
    httpserver.expect_ordered_request("/token", method="POST").respond_with_json(
        {
            "access_token": "granted-access",
            "refresh_token": "granted-refresh",
            "expires_in": 3600,
            "team": {"id": "T1"},
        }
    )
    token = await session(shop, tags={"plan": "pro"})

    asked = await leave(browser, token, "local-oauth2", issuer_of(httpserver))
    answer = await browser.get(
        "/oauth/callback", params={"state": asked["state"], "code": "the-code", "shop": "s1"}
    )

    assert answer.status_code == 200, answer.text
    assert asked["client_id"] == "our-client"
    assert asked["redirect_uri"] == "https://api.example.com/oauth/callback"
    assert asked["code_challenge_method"] == "S256"
    sent, _ = httpserver.log[0]
    assert sent.form["code"] == "the-code"
    assert sent.form["redirect_uri"] == asked["redirect_uri"]
    assert len(sent.form["code_verifier"]) >= 43
    connection = await only_connection(shop)
    assert connection["credentials"]["access_token"] == "granted-access"
    assert connection["connection_config"] == {
        "issuer": issuer_of(httpserver),
        "shop": "s1",
        "team": {"id": "T1"},
    }
    assert connection["end_user"] == {"id": "u1"}
    assert connection["tags"] == {"plan": "pro"}
    assert connection["connection_id"] in answer.text
    assert "granted-access" not in answer.text


async def test_state_is_good_once(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    httpserver.expect_request("/token").respond_with_json({"access_token": "granted-access"})
    asked = await leave(browser, await session(shop), "local-oauth2", issuer_of(httpserver))
    cookies = dict(browser.cookies)
    params = {"state": asked["state"], "code": "the-code"}
    assert (await browser.get("/oauth/callback", params=params)).status_code == 200
    browser.cookies.update(cookies)

    again = await browser.get("/oauth/callback", params=params)

    assert again.status_code == 400
    assert "invalid_state" in again.text
    assert len((await shop.get("/connections")).json()["connections"]) == 1


async def test_another_browser_cannot_come_back(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    asked = await leave(browser, await session(shop), "local-oauth2", issuer_of(httpserver))
    browser.cookies.clear()

    answer = await browser.get(
        "/oauth/callback", params={"state": asked["state"], "code": "the-code"}
    )

    assert answer.status_code == 400
    assert "state_cookie_mismatch" in answer.text
    assert httpserver.log == []
    assert (await shop.get("/connections")).json()["connections"] == []


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "access denied"])
async def test_what_the_provider_says_is_shown_as_text(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer, text: str
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    asked = await leave(browser, await session(shop), "local-oauth2", issuer_of(httpserver))

    answer = await browser.get(
        "/oauth/callback",
        params={"state": asked["state"], "error": "access_denied", "error_description": text},
    )

    assert answer.status_code == 400
    assert html.escape(text) in answer.text
    assert "<script>alert" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_refused_code_makes_no_connection(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    httpserver.expect_request("/token").respond_with_json({"error": "invalid_grant"}, status=400)
    asked = await leave(browser, await session(shop), "local-oauth2", issuer_of(httpserver))

    answer = await browser.get(
        "/oauth/callback", params={"state": asked["state"], "code": "secret-code"}
    )

    assert answer.status_code == 502
    assert "invalid_grant" in answer.text
    assert "secret-code" not in answer.text
    assert "our-client-secret" not in answer.text
    assert (await shop.get("/connections")).json()["connections"] == []


async def test_application_decides_over_the_end_user(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    token = await session(
        shop,
        integrations_config_defaults={
            "local-oauth2": {
                "connection_config": {
                    "issuer": issuer_of(httpserver),
                    "oauth_scopes_override": "x",
                },
                "authorization_params": {"audience": "theirs", "state": "forged"},
                "user_scopes": "identity",
            }
        },
    )

    asked = await leave(
        browser,
        token,
        "local-oauth2",
        "http://elsewhere.example",
        **{
            "params[team]": "not asked for",
            "authorization_params[client_id]": "forged",
            "authorization_params[login_hint]": "u1",
        },
    )

    assert asked["client_id"] == "our-client"
    assert asked["audience"] == "theirs"
    assert asked["login_hint"] == "u1"
    assert asked["user_scope"] == "identity"
    assert asked["state"] != "forged"


async def test_connection_is_given_new_credentials(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    imported = await shop.post(
        "/connections",
        json={
            "provider_config_key": "local-oauth2",
            "connection_id": "acme",
            "connection_config": {"issuer": issuer_of(httpserver), "team": "T0"},
            "credentials": {"type": "OAUTH2", "access_token": "old"},
            "end_user": {"id": "first"},
        },
    )
    assert imported.status_code == 200, imported.text
    httpserver.expect_request("/token").respond_with_json({"access_token": "renewed"})
    made = await shop.post(
        "/connect/sessions/reconnect",
        json={"connection_id": "acme", "integration_id": "local-oauth2"},
    )
    assert made.status_code == 201, made.text

    answer = await browser.get(
        "/oauth/connect/local-oauth2",
        params={"connect_session_token": made.json()["data"]["token"]},
    )
    asked = query_of(answer.headers["location"])
    done = await browser.get("/oauth/callback", params={"state": asked["state"], "code": "c"})

    assert done.status_code == 200, done.text
    connection = await only_connection(shop)
    assert connection["id"] == imported.json()["id"]
    assert connection["credentials"]["access_token"] == "renewed"
    assert connection["connection_config"]["team"] == "T0"
    assert connection["end_user"] == {"id": "first"}


async def test_account_is_connected_by_oauth1(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth1", credentials=CLIENT | {"type": "OAUTH1"})
    httpserver.expect_request("/request").respond_with_data(
        "oauth_token=temporary&oauth_token_secret=temporary-secret&oauth_callback_confirmed=true"
    )
    httpserver.expect_request("/access").respond_with_data(
        "oauth_token=final&oauth_token_secret=final-secret"
    )
    token = await session(shop)
    params = {"connect_session_token": token, "params[issuer]": issuer_of(httpserver)}

    left = await browser.get("/oauth/connect/local-oauth1", params=params)
    first, _ = httpserver.log[0]
    callback = re.search(r'oauth_callback="([^"]+)"', first.headers["Authorization"])
    assert callback
    back = {"oauth_token": "temporary", "oauth_verifier": "v"}
    state = query_of(unquote(callback.group(1)))
    done = await browser.get("/oauth/callback", params=state | back)

    assert query_of(left.headers["location"]) == {"oauth_token": "temporary"}
    assert done.status_code == 200, done.text
    credentials = (await only_connection(shop))["credentials"]
    assert (credentials["oauth_token"], credentials["oauth_token_secret"]) == (
        "final",
        "final-secret",
    )


async def test_key_is_typed_into_a_form_of_the_application(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key")
    httpserver.expect_request("/me", headers={"authorization": "Bearer k1"}).respond_with_json({})
    token = await session(shop)

    answer = await browser.post(
        "/api-auth/api-key/local-key",
        params={"connect_session_token": token, "params[issuer]": issuer_of(httpserver)},
        json={"apiKey": "k1"},
        headers={"origin": "https://shop.example.com"},
    )

    assert answer.status_code == 200, answer.text
    connection = await only_connection(shop)
    assert answer.json() == {
        "connectionId": connection["connection_id"],
        "providerConfigKey": "local-key",
    }
    assert answer.headers["access-control-allow-origin"] == "*"
    assert connection["credentials"] == {"type": "API_KEY", "apiKey": "k1"}
    assert connection["connection_config"] == {"issuer": issuer_of(httpserver), "region": "eu"}


async def test_key_that_the_provider_refuses_makes_no_connection(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key")
    httpserver.expect_request("/me").respond_with_json({"message": "bad key"}, status=401)

    answer = await browser.post(
        "/api-auth/api-key/local-key",
        params={
            "connect_session_token": await session(shop),
            "params[issuer]": issuer_of(httpserver),
        },
        json={"apiKey": "wrong-key-of-mine"},
    )

    assert error_of(answer) == (400, "connection_test_failed")
    assert "wrong-key-of-mine" not in answer.text
    assert (await shop.get("/connections")).json()["connections"] == []


async def test_provider_that_is_down_does_not_stop_anybody(
    shop: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key")
    httpserver.expect_request("/me").respond_with_json({}, status=503)

    answer = await shop.post(
        "/connections",
        json={
            "provider_config_key": "local-key",
            "credentials": {"type": "API_KEY", "api_key": "k1"},
            "connection_config": {"issuer": issuer_of(httpserver)},
        },
    )

    assert answer.status_code == 200, answer.text


async def test_client_of_the_users_own_gets_its_first_token(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-cc")
    httpserver.expect_request("/token").respond_with_json(
        {"access_token": "cc-token", "expires_in": 3600}
    )

    answer = await browser.post(
        "/oauth2/auth/local-cc",
        params={
            "connect_session_token": await session(shop),
            "params[issuer]": issuer_of(httpserver),
        },
        json={"client_id": "theirs", "client_secret": "theirs-secret"},
    )

    assert answer.status_code == 200, answer.text
    assert (await only_connection(shop))["credentials"]["token"] == "cc-token"


async def test_missing_parameter_is_named(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    await make(shop, "local-key")

    answer = await browser.post(
        "/api-auth/api-key/local-key",
        params={"connect_session_token": await session(shop)},
        json={"apiKey": "k1"},
    )

    assert error_of(answer) == (400, "missing_connection_config")
    assert "issuer" in answer.json()["error"]["message"]


async def test_parameter_of_another_form_is_refused(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    new = {"provider": "shopify-api-key", "unique_key": "shopify"}
    assert (await shop.post("/integrations", json=new)).status_code == 200

    answer = await browser.post(
        "/api-auth/api-key/shopify",
        params={
            "connect_session_token": await session(shop),
            "params[subdomain]": "evil.test/",
        },
        json={"apiKey": "k1"},
    )

    assert error_of(answer) == (400, "invalid_connection_config")
    assert answer.json()["error"]["errors"][0]["path"] == ["params", "subdomain"]
    assert (await shop.get("/connections")).json() == {"connections": []}


async def test_session_allows_what_it_names_and_nothing_else(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    await make(shop, "local-key")
    await make(shop, "local-cc")
    token = await session(shop, allowed_integrations=["local-cc"])

    answer = await browser.post(
        "/api-auth/api-key/local-key",
        params={"connect_session_token": token},
        json={"apiKey": "k1"},
    )

    assert error_of(answer) == (403, "integration_not_allowed")


async def test_page_asks_for_what_the_entry_words(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    await make(shop, "local-key", display_name="Fish & Chips")
    token = await session(shop)

    listed = await browser.get("/connect", params={"session_token": token})
    answer = await browser.get(listed.headers["location"])

    assert listed.status_code == 302
    assert "Connect Fish &amp; Chips" in answer.text
    assert "Secret token" in answer.text
    assert "It stands in your settings." in answer.text
    assert "https://docs.example.com/keys" in answer.text
    assert 'name="params[account]"' not in answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_page_says_what_is_wrong_and_keeps_no_secret(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key")
    httpserver.expect_request("/me").respond_with_json({}, status=401)
    token = await session(shop)

    answer = await browser.post(
        "/connect/integrations/local-key",
        data={
            "session_token": token,
            "params[issuer]": issuer_of(httpserver),
            "apiKey": "wrong-key-of-mine",
        },
    )

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert "wrong-key-of-mine" not in answer.text


async def test_ended_session_is_told_on_a_page(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/connect", params={"session_token": "nango_connect_session_x"})

    assert answer.status_code == 401
    assert "unknown_connect_session" in answer.text
