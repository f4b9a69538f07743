"""Nango's own frontend, on a page of another site, connects accounts with us as its host."""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import BrowserContext, Page
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.browser.connecting import agree, connection_of, make, session
from tests.support.authorization_server import AuthorizationServer
from tests.support.npm import npm_install

CONTRACT = Path(__file__).parent.parent / "contract"
FRONTEND = CONTRACT / "node_modules" / "@nangohq" / "frontend" / "dist"

AUTH = """
async ([host, token, method, integration, options]) => {
    const { default: Nango } = await import("/frontend/index.js");
    const nango = new Nango({ host, connectSessionToken: token });
    try {
        return { value: await nango[method](integration, options) };
    } catch (error) {
        return { type: error.type, message: error.message };
    }
}
"""


def frontend_file(request: Request) -> Response:
    """Give a file of the package, as the application's bundler would."""
    file = FRONTEND / request.path.removeprefix("/frontend/")
    if not file.is_file():
        return Response(status=404)
    return Response(file.read_bytes(), mimetype=mimetypes.guess_type(file)[0])


@pytest.fixture
async def application(httpserver: HTTPServer, page: Page) -> Page:
    """A page of the application, whose site is not ours."""
    npm_install(CONTRACT)
    httpserver.expect_request("/app").respond_with_data("<title>App</title>", mimetype="text/html")
    httpserver.expect_request(re.compile("/frontend/.*")).respond_with_handler(frontend_file)
    await page.goto(httpserver.url_for("/app"))
    return page


async def auth(
    application: Page,
    shop: httpx.AsyncClient,
    token: str,
    integration: str,
    *,
    method: str = "auth",
    **options: Any,
) -> dict[str, Any]:
    """Call a method of the frontend; returns its value, or its error's type and message."""
    host = str(shop.base_url).rstrip("/")
    return dict(await application.evaluate(AUTH, [host, token, method, integration, options]))


async def test_window_of_oauth_ends_with_a_connection(
    shop: httpx.AsyncClient,
    context: BrowserContext,
    application: Page,
    issuer: AuthorizationServer,
) -> None:
    await make(shop, "local-oauth2", credentials={"type": "OAUTH2", **issuer.client})
    token = (await session(shop))["token"]
    opened: list[Page] = []

    async def consent(window: Page) -> None:
        opened.append(window)
        await agree(window)

    context.on("page", consent)
    result = await auth(application, shop, token, "local-oauth2", params={"issuer": issuer.url})

    connection = await connection_of(shop)
    assert result["value"]["connectionId"] == connection["connection_id"], result
    assert result["value"]["providerConfigKey"] == "local-oauth2"
    assert connection["end_user"]["id"] == "u1"
    assert connection["credentials"]["access_token"]
    assert len(opened) == 1


async def test_refusal_of_the_end_user_is_an_error(
    shop: httpx.AsyncClient,
    context: BrowserContext,
    application: Page,
    issuer: AuthorizationServer,
) -> None:
    await make(shop, "local-oauth2", credentials={"type": "OAUTH2", **issuer.client})
    token = (await session(shop))["token"]

    async def refuse(window: Page) -> None:
        await window.get_by_role("link", name="Cancel").click()

    context.on("page", refuse)
    result = await auth(application, shop, token, "local-oauth2", params={"issuer": issuer.url})

    assert "value" not in result, result
    assert "did not agree" in result["message"]
    assert (await shop.get("/connections")).json() == {"connections": []}


async def test_window_that_is_closed_is_an_error(
    shop: httpx.AsyncClient,
    context: BrowserContext,
    application: Page,
    issuer: AuthorizationServer,
) -> None:
    await make(shop, "local-oauth2", credentials={"type": "OAUTH2", **issuer.client})
    token = (await session(shop))["token"]

    async def close(window: Page) -> None:
        await window.get_by_role("link", name="Cancel").wait_for()
        await window.close()

    context.on("page", close)
    result = await auth(
        application,
        shop,
        token,
        "local-oauth2",
        params={"issuer": issuer.url},
        detectClosedAuthWindow=True,
    )

    assert result["type"] == "window_closed", result


async def test_integration_that_is_not_there_is_an_error(
    shop: httpx.AsyncClient, application: Page, issuer: AuthorizationServer
) -> None:
    result = await auth(application, shop, (await session(shop))["token"], "nothing")

    assert "value" not in result
    assert "nothing" in result["message"], result


async def test_api_key_is_checked_and_kept(
    shop: httpx.AsyncClient, application: Page, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key")
    good = {"authorization": "Bearer key-of-acme"}
    httpserver.expect_request("/me", headers=good).respond_with_json({})
    httpserver.expect_request("/me").respond_with_json({"message": "no"}, status=401)
    token = (await session(shop))["token"]
    params = {"issuer": httpserver.url_for("")}

    refused = await auth(
        application,
        shop,
        token,
        "local-key",
        params=params,
        credentials={"apiKey": "wrong-key-of-mine"},
    )
    result = await auth(
        application,
        shop,
        token,
        "local-key",
        params=params,
        credentials={"apiKey": "key-of-acme"},
    )

    assert "value" not in refused
    assert "401" in refused["message"], refused
    connection = await connection_of(shop)
    assert result["value"]["connectionId"] == connection["connection_id"], result
    assert result["value"]["providerConfigKey"] == "local-key"
    assert connection["credentials"]["apiKey"] == "key-of-acme"
    assert connection["end_user"]["id"] == "u1"


async def test_account_is_connected_anew(
    shop: httpx.AsyncClient, application: Page, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key")
    httpserver.expect_request("/me").respond_with_json({})
    params = {"issuer": httpserver.url_for("")}
    first = await auth(
        application,
        shop,
        (await session(shop))["token"],
        "local-key",
        params=params,
        credentials={"apiKey": "key-of-acme"},
    )
    body = {
        "connection_id": first["value"]["connectionId"],
        "integration_id": "local-key",
        "end_user": {"id": "u1"},
    }
    token = (await shop.post("/connect/sessions/reconnect", json=body)).json()["data"]["token"]

    again = await auth(
        application,
        shop,
        token,
        "local-key",
        method="reconnect",
        params=params,
        credentials={"apiKey": "key-of-acme-2"},
    )

    assert again["value"]["connectionId"] == first["value"]["connectionId"], again
    assert (await connection_of(shop))["credentials"]["apiKey"] == "key-of-acme-2"


async def test_session_that_is_over_is_an_error(
    shop: httpx.AsyncClient, application: Page, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key")

    result = await auth(
        application,
        shop,
        "nango_connect_session_" + "0" * 64,
        "local-key",
        params={"issuer": httpserver.url_for("")},
        credentials={"apiKey": "key-of-acme"},
    )

    assert "value" not in result
    assert result["type"], result


async def test_api_without_authentication_is_connected(
    shop: httpx.AsyncClient, application: Page
) -> None:
    await make(shop, "generic-none")
    token = (await session(shop))["token"]

    result = await auth(
        application,
        shop,
        token,
        "generic-none",
        method="create",
        params={"baseUrl": "https://api.example.com"},
    )

    connection = await connection_of(shop)
    assert result["value"]["connectionId"] == connection["connection_id"], result
    assert connection["connection_config"] == {"baseUrl": "https://api.example.com"}
