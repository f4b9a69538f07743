"""Who signs in, with which key, sees what; and how it ends."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.dashboard.conftest import Window
from tests.showcase.seed import Showcase

SYNC = "/syncs/github/acme/issues"


async def sign_in(window: Window, key: str) -> None:
    await window.page.get_by_label("API key").fill(key)
    await window.page.get_by_role("button", name="Sign in").click()


async def make_key(showcase: Showcase, *scopes: str) -> dict[str, str]:
    body = {"name": f"for {scopes[0]}", "scopes": list(scopes)}
    return await showcase.call("POST", "/environment/api-keys", body)


async def test_wrong_key_is_told_and_the_right_one_leads_to_the_page_that_was_asked_for(
    stranger: Window, secret_key: str
) -> None:
    page = await stranger.open("/runs?status=failed")
    asked = "%2Fdashboard%2Fruns%3Fstatus%3Dfailed"
    await expect(page).to_have_url(f"{stranger.url}/sign-in?next={asked}")
    await sign_in(stranger, "wrong-key-of-nobody")
    await expect(page.get_by_role("alert")).to_contain_text("No environment")
    assert await page.get_by_label("API key").input_value() == ""

    await sign_in(stranger, secret_key)

    await expect(page).to_have_url(f"{stranger.url}/runs?status=failed")
    await expect(page.get_by_role("heading", name="Runs")).to_be_visible()


async def test_page_of_another_site_is_never_gone_on_to(stranger: Window, secret_key: str) -> None:
    for following in ("https://evil.example/", "//evil.example/", "/dashboard/\\evil.example"):
        await stranger.open(f"/sign-in?next={following}")
        await sign_in(stranger, secret_key)
        await expect(stranger.page).to_have_url(f"{stranger.url}/")


async def test_after_signing_out_a_key_is_asked_for_again(
    stranger: Window, secret_key: str
) -> None:
    page = await stranger.open()
    await sign_in(stranger, secret_key)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()

    await stranger.open("/runs")

    await expect(page.get_by_label("API key")).to_be_visible()


async def test_key_of_few_scopes_sees_what_it_may_and_is_told_of_the_rest(
    showcase: Showcase, stranger: Window
) -> None:
    key = await make_key(showcase, "environment:records:read")
    page = await stranger.open("/records")
    await sign_in(stranger, key["api_key"])
    await expect(page.get_by_role("link", name="Issue").first).to_be_visible()

    for path in ("/", "/connections", "/settings", "/deployments", "/webhooks", SYNC):
        answer = await page.goto(f"{stranger.url}{path}")
        assert answer is not None
        assert answer.status == 403, path
        await expect(page.locator(".empty")).to_contain_text("scope")
        await expect(page.get_by_role("link", name="Records")).to_be_visible()


async def test_revoked_key_ends_the_session_on_the_open_page(
    showcase: Showcase, stranger: Window
) -> None:
    key = await make_key(showcase, "environment:*")
    page = await stranger.open("/runs")
    await sign_in(stranger, key["api_key"])
    await expect(page.get_by_role("heading", name="Runs")).to_be_visible()

    await showcase.call("DELETE", f"/environment/api-keys/{key['id']}")

    await expect(page.get_by_label("API key")).to_be_visible()
