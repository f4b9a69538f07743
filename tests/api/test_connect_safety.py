"""What end users, and whoever is none, cannot do with connect sessions."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import httpx
import pytest
from pytest_httpserver import HTTPServer

from perdure.app.container import Container
from tests.api.calls import client_of, error_of
from tests.api.connects import (
    APP_KEY,
    CLIENT,
    issuer_of,
    leave,
    make,
    only_connection,
    query_of,
    session,
)
from tests.support.connect import app_with_providers
from tests.support.stack import Stack

APP = {
    "type": "APP",
    "app_id": "1",
    "app_link": "https://github.example/apps/ours",
    "private_key": APP_KEY,
}


async def nothing_is_connected(shop: httpx.AsyncClient) -> bool:
    return (await shop.get("/connections")).json() == {"connections": []}


async def test_session_that_names_no_integration_opens_none(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    await make(shop, "local-key")
    await make(shop, "local-cc")
    token = await session(shop, allowed_integrations=[])

    page = await browser.get("/connect", params={"session_token": token})
    answer = await browser.post(
        "/api-auth/api-key/local-key", params={"connect_session_token": token}, json={}
    )

    assert "There is nothing to connect" in page.text
    assert error_of(answer) == (403, "integration_not_allowed")


async def test_installation_that_is_no_number_reaches_nobody(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-app", credentials=APP)
    asked = await leave(browser, await session(shop), "local-app", issuer_of(httpserver))

    answer = await browser.get(
        "/app-auth/connect", params={"state": asked["state"], "installation_id": "1/../../hook?"}
    )

    assert answer.status_code == 400
    assert "invalid_callback" in answer.text
    assert httpserver.log == []


async def test_callback_says_nothing_of_another_form(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    asked = await leave(browser, await session(shop), "local-oauth2", issuer_of(httpserver))

    answer = await browser.get(
        "/oauth/callback", params={"state": asked["state"], "code": "c", "shop": "evil.test/"}
    )

    assert answer.status_code == 400
    assert "invalid_callback" in answer.text
    assert httpserver.log == []
    assert await nothing_is_connected(shop)


async def test_callback_does_not_overrule_the_application(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    httpserver.expect_request("/token").respond_with_json({"access_token": "granted"})
    said = {"issuer": issuer_of(httpserver), "shop": "ours"}
    token = await session(
        shop, integrations_config_defaults={"local-oauth2": {"connection_config": said}}
    )
    asked = await leave(browser, token, "local-oauth2", "")

    answer = await browser.get(
        "/oauth/callback", params={"state": asked["state"], "code": "c", "shop": "theirs"}
    )

    assert answer.status_code == 200, answer.text
    assert (await only_connection(shop))["connection_config"]["shop"] == "ours"


async def test_temporary_token_is_ours(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth1", credentials=CLIENT | {"type": "OAUTH1"})
    httpserver.expect_request("/request").respond_with_data("oauth_token=ours&oauth_token_secret=s")

    asked = await leave(
        browser,
        await session(shop),
        "local-oauth1",
        issuer_of(httpserver),
        **{"authorization_params[oauth_token]": "forged"},
    )
    header = httpserver.log[0][0].headers["Authorization"]
    callback = re.search(r'oauth_callback="([^"]+)"', header)
    assert callback
    state = query_of(unquote(callback.group(1)))
    answer = await browser.get(
        "/oauth/callback", params=state | {"oauth_token": "\u00e9", "oauth_verifier": "v"}
    )

    assert asked == {"oauth_token": "ours"}
    assert answer.status_code == 400
    assert "invalid_state" in answer.text


async def test_attempt_of_a_stranger_leaves_nothing(
    browser: httpx.AsyncClient, container: Container
) -> None:
    client_id = uuid4()

    answer = await browser.get(
        "/oauth/connect/any",
        params={"ws_client_id": str(client_id), "connect_session_token": "nothing"},
    )

    assert answer.status_code == 401
    assert await container.database.connect_sessions.take_results([client_id]) == {}


async def test_attempt_in_a_session_is_told_how_it_ended(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, container: Container
) -> None:
    client_id = uuid4()
    params = {"ws_client_id": str(client_id), "connect_session_token": await session(shop)}

    await browser.get("/oauth/connect/any", params=params)

    results = await container.database.connect_sessions.take_results([client_id])
    assert results[client_id]["error_type"] == "unknown_provider_config"


async def test_address_with_a_token_is_not_kept_or_told_on(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    await make(shop, "local-key")

    answer = await browser.get("/connect", params={"session_token": await session(shop)})

    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_state_cookie_is_of_this_host_alone(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    params = {
        "connect_session_token": await session(shop),
        "params[issuer]": issuer_of(httpserver),
    }

    answer = await browser.get("/oauth/connect/local-oauth2", params=params)

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-perdure_oauth_")
    for attribute in ("HttpOnly", "Secure", "Path=/", "SameSite=lax"):
        assert attribute in cookie


@pytest.mark.parametrize(
    ("sent", "at"),
    [
        ({"user": "somebody"}, ["pass"]),
        ({"user": "Somebody 1", "pass": "p"}, ["user"]),
        ({"user": ["x"], "pass": "p"}, ["user"]),
    ],
)
async def test_fields_are_what_the_entry_asks_for(
    shop: httpx.AsyncClient,
    browser: httpx.AsyncClient,
    httpserver: HTTPServer,
    sent: dict[str, Any],
    at: list[str],
) -> None:
    await make(shop, "local-two-step")

    answer = await browser.post(
        "/auth/two-step/local-two-step",
        params={
            "connect_session_token": await session(shop),
            "params[issuer]": issuer_of(httpserver),
        },
        json=sent,
    )

    assert error_of(answer) == (400, "invalid_body")
    assert answer.json()["error"]["errors"][0]["path"] == at
    assert httpserver.log == []


async def test_fields_that_nobody_asked_for_are_not_kept(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-two-step")
    httpserver.expect_request("/signin").respond_with_json({"data": {"token": "t-1"}})
    httpserver.expect_request("/me").respond_with_json({})

    answer = await browser.post(
        "/auth/two-step/local-two-step",
        params={
            "connect_session_token": await session(shop),
            "params[issuer]": issuer_of(httpserver),
        },
        json={"user": "u", "pass": "p", "refresh_token": "mine", "clientSecret": "x"},
    )

    assert answer.status_code == 200, answer.text
    connection = await only_connection(shop)
    query = {"provider_config_key": "local-two-step", "refresh_token": "true"}
    shown = await shop.get(f"/connections/{connection['connection_id']}", params=query)
    assert set(shown.json()["credentials"]) == {
        "type",
        "user",
        "pass",
        "token",
        "expires_at",
        "raw",
    }


async def test_connection_that_is_going_is_told_on_a_page(
    shop: httpx.AsyncClient,
    browser: httpx.AsyncClient,
    httpserver: HTTPServer,
    container: Container,
) -> None:
    await make(shop, "local-oauth2", credentials=CLIENT)
    httpserver.expect_request("/token").respond_with_json({"access_token": "granted"})
    imported = await shop.post(
        "/connections",
        json={
            "provider_config_key": "local-oauth2",
            "connection_id": "acme",
            "connection_config": {"issuer": issuer_of(httpserver)},
            "credentials": {"type": "OAUTH2", "access_token": "old"},
        },
    )
    made = await shop.post(
        "/connect/sessions/reconnect",
        json={"connection_id": "acme", "integration_id": "local-oauth2"},
    )
    token = made.json()["data"]["token"]
    answer = await browser.get(
        "/oauth/connect/local-oauth2", params={"connect_session_token": token}
    )
    state = query_of(answer.headers["location"])["state"]
    async with container.database.transaction() as conn:
        await conn.execute(
            "UPDATE connections SET deleting_since = now() WHERE id = $1", imported.json()["id"]
        )

    done = await browser.get("/oauth/callback", params={"state": state, "code": "c"})

    assert done.status_code == 409
    assert "connection_being_deleted" in done.text


async def test_page_of_an_app_is_the_entrys(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient, httpserver: HTTPServer
) -> None:
    await make(shop, "local-app", credentials=APP)
    params = {
        "connect_session_token": await session(shop),
        "params[issuer]": issuer_of(httpserver),
    }

    answer = await browser.get("/oauth/connect/local-app", params=params)

    page = urlsplit(answer.headers["location"])
    assert (page.netloc, page.path) == ("github.example", "/apps/ours/installations/new")
    assert set(query_of(answer.headers["location"])) == {"state"}


@pytest.mark.parametrize("path", ["/api-auth/api-key/any", "/connect/integrations/any"])
async def test_large_body_of_a_stranger_is_refused_before_it_is_held(
    browser: httpx.AsyncClient, path: str
) -> None:
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 64 * 1024
            yield b" " * 64 * 1024

    answer = await browser.post(
        path, content=pieces(), headers={"content-type": "application/json"}
    )

    assert error_of(answer) == (400, "request_too_large")
    assert read < 1024 * 1024


async def test_end_user_does_not_see_where_webhooks_go(
    shop: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    url = "https://shop.example.com/hooks?secret=ours"
    token = await session(shop, webhook_url_override=url)

    answer = await browser.get("/connect/session", params={"connect_session_token": token})

    assert answer.status_code == 200
    assert "hooks" not in answer.text


async def test_session_is_limited_as_a_key_is(
    container: Container, tmp_path: Path, stack: Stack
) -> None:
    async with (
        app_with_providers(container, tmp_path, requests_per_minute=3) as app,
        client_of(app, stack.secret_key) as shop,
        client_of(app, None) as browser,
    ):
        tokens = [await session(shop) for _ in range(2)]
        query = {"connect_session_token": tokens[0]}
        answers = [await browser.get("/connect/session", params=query) for _ in range(4)]
        page = await browser.get("/connect", params={"session_token": tokens[0]})
        other = await browser.get("/connect", params={"session_token": tokens[1]})

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["error"]["code"] == "too_many_request"
    assert int(answers[3].headers["retry-after"]) > 0
    assert (page.status_code, other.status_code) == (429, 200)
    assert "too_many_request" in page.text
