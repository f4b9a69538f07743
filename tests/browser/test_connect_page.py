"""End users connect accounts in a real browser."""

from __future__ import annotations

import httpx
from playwright.async_api import BrowserContext, Page, expect
from pytest_httpserver import HTTPServer

from tests.browser.connecting import agree, connection_of, make, session
from tests.support.authorization_server import AuthorizationServer


async def test_end_user_picks_an_integration_and_goes_through_oauth(
    shop: httpx.AsyncClient, page: Page, issuer: AuthorizationServer
) -> None:
    client = {"type": "OAUTH2", **issuer.client}
    await make(shop, "local-oauth2", display_name="Local tracker", credentials=client)
    await make(shop, "local-key")

    await page.goto((await session(shop))["connect_link"])
    await page.get_by_role("link", name="Local tracker").click()
    await page.get_by_label("Address of the server").fill(issuer.url)
    await page.get_by_role("button", name="Continue to Local tracker").click()
    await agree(page)

    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    connection = await connection_of(shop)
    assert connection["provider_config_key"] == "local-oauth2"
    async with httpx.AsyncClient() as api:
        bearer = {"authorization": f"Bearer {connection['credentials']['access_token']}"}
        answer = await api.get(f"{issuer.url}/me", headers=bearer)
    assert answer.status_code == 200, answer.text


async def test_end_user_enters_an_api_key(
    shop: httpx.AsyncClient, page: Page, httpserver: HTTPServer
) -> None:
    await make(shop, "local-key", display_name="Local key")
    good = {"authorization": "Bearer right"}
    httpserver.expect_request("/me", headers=good).respond_with_json({})
    httpserver.expect_request("/me").respond_with_json({"message": "no"}, status=401)

    await page.goto((await session(shop))["connect_link"])
    await page.get_by_label("Address").fill(httpserver.url_for(""))
    await page.get_by_label("Secret token").fill("wrong")
    await page.get_by_role("button", name="Connect").click()
    await expect(page.get_by_role("alert")).to_contain_text("401")
    assert await page.get_by_label("Secret token").input_value() == ""
    await page.get_by_label("Address").fill(httpserver.url_for(""))
    await page.get_by_label("Secret token").fill("right")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    assert (await connection_of(shop))["credentials"]["apiKey"] == "right"


async def test_window_of_the_application_is_told_of_the_result(
    shop: httpx.AsyncClient, context: BrowserContext, page: Page, issuer: AuthorizationServer
) -> None:
    client = {"type": "OAUTH2", **issuer.client}
    await make(shop, "local-oauth2", credentials=client)
    token = (await session(shop))["token"]
    # A page of another site, which holds a socket and opens the consent page in a window.
    await page.goto(issuer.url + "/nowhere")
    async with context.expect_page() as opened:
        await page.evaluate(
            """([url, key, token, issuer]) => {
                window.told = [];
                window.messages = [];
                window.addEventListener("message", (event) => window.messages.push(event.data));
                const socket = new WebSocket(url.replace("http", "ws") + "/");
                socket.onmessage = (event) => {
                    const message = JSON.parse(event.data);
                    window.told.push(message);
                    if (message.message_type !== "connection_ack") return;
                    const query = new URLSearchParams({
                        connect_session_token: token,
                        ws_client_id: message.ws_client_id,
                        "params[issuer]": issuer,
                    });
                    window.open(`${url}/oauth/connect/${key}?${query}`);
                };
            }""",
            [str(shop.base_url).rstrip("/"), "local-oauth2", token, issuer.url],
        )
    window = await opened.value
    await agree(window)
    await page.wait_for_function("window.told.length > 1")

    connection_id = (await connection_of(shop))["connection_id"]
    assert (await page.evaluate("window.told"))[1] == {
        "message_type": "success",
        "is_pending": False,
        "provider_config_key": "local-oauth2",
        "connection_id": connection_id,
    }
    await page.wait_for_function("window.messages.length > 0")
    (message,) = await page.evaluate("window.messages")
    assert message["type"] == "connect"
    assert message["payload"]["connectionId"] == connection_id


FRAMING = """<!doctype html><title>Shop</title><iframe src="{link}" width=600 height=600></iframe>
<script>window.told = []; addEventListener("message", (event) => told.push(event.data))</script>"""


async def test_page_in_a_frame_of_another_site_opens_a_window_for_the_consent_page(
    shop: httpx.AsyncClient,
    context: BrowserContext,
    page: Page,
    issuer: AuthorizationServer,
    httpserver: HTTPServer,
) -> None:
    await make(shop, "local-oauth2", credentials={"type": "OAUTH2", **issuer.client})
    link = (await session(shop))["connect_link"]
    httpserver.expect_request("/shop").respond_with_data(
        FRAMING.format(link=link), content_type="text/html"
    )
    await page.goto(httpserver.url_for("/shop").replace("127.0.0.1", "localhost"))
    frame = page.frame_locator("iframe")

    await frame.get_by_label("Address of the server").fill(issuer.url)
    async with context.expect_page() as opened:
        await frame.get_by_role("button", name="Continue to").click()
    await agree(await opened.value)

    await expect(frame.get_by_role("heading", name="Connected")).to_be_visible()
    await page.wait_for_function("window.told.length > 0")
    connection_id = (await connection_of(shop))["connection_id"]
    told = await page.evaluate("window.told")
    assert [message["payload"]["connectionId"] for message in told] == [connection_id]


async def test_frame_says_why_nothing_was_connected(
    shop: httpx.AsyncClient,
    context: BrowserContext,
    page: Page,
    issuer: AuthorizationServer,
    httpserver: HTTPServer,
) -> None:
    await make(shop, "local-oauth2", credentials={"type": "OAUTH2", **issuer.client})
    link = (await session(shop))["connect_link"]
    httpserver.expect_request("/shop").respond_with_data(
        FRAMING.format(link=link), content_type="text/html"
    )
    await page.goto(httpserver.url_for("/shop").replace("127.0.0.1", "localhost"))
    frame = page.frame_locator("iframe")

    await frame.get_by_label("Address of the server").fill(issuer.url)
    async with context.expect_page() as opened:
        await frame.get_by_role("button", name="Continue to").click()
    await (await opened.value).get_by_role("link", name="Cancel").click()

    await expect(frame.get_by_role("alert")).to_contain_text("did not agree")
    assert await page.evaluate("window.told") == []


async def test_refusal_is_shown_and_told(
    shop: httpx.AsyncClient, page: Page, issuer: AuthorizationServer
) -> None:
    await make(shop, "local-oauth2", credentials={"type": "OAUTH2", **issuer.client})
    await page.goto((await session(shop))["connect_link"])
    await page.get_by_label("Address of the server").fill(issuer.url)
    await page.get_by_role("button", name="Continue to").click()
    await page.get_by_role("link", name="Cancel").click()

    await expect(page.get_by_role("alert")).to_contain_text("did not agree")
    assert (await shop.get("/connections")).json() == {"connections": []}
