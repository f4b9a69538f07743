"""Accounts are connected and looked after; their records are read."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.dashboard.conftest import Window
from tests.showcase.provider import ShowcaseProvider
from tests.showcase.seed import Showcase


async def test_account_is_connected_by_hand(provider: ShowcaseProvider, window: Window) -> None:
    page = await window.open("/connections/new")
    await page.get_by_label("Integration").select_option("stripe")
    await page.get_by_label("Connection id").fill("umbrella")
    await page.get_by_label("Base URL").fill(provider.account("umbrella"))
    await page.get_by_label("API key").fill("key-of-umbrella")
    await page.get_by_role("button", name="Connect", exact=True).click()

    await expect(page).to_have_url(f"{window.url}/connections/stripe/umbrella")
    await expect(page.locator(".note.done")).to_contain_text("connected")
    await expect(page.get_by_role("link", name="120 Invoice")).to_be_visible()
    assert "key-of-umbrella" not in await page.content()


async def test_account_that_cannot_be_connected_is_refused_with_the_reason(
    provider: ShowcaseProvider, window: Window
) -> None:
    page = await window.open("/connections/new?integration=stripe")
    await page.get_by_label("Connection id").fill("n" * 300)
    await page.get_by_label("Base URL").fill(provider.account("nobody"))
    await page.get_by_label("API key").fill("key-of-nobody")
    await page.get_by_role("button", name="Connect", exact=True).click()

    await expect(page.locator(".note.failed")).to_contain_text("connection_id")


async def test_account_is_connected_by_a_link(provider: ShowcaseProvider, window: Window) -> None:
    page = await window.open("/connections/new?integration=stripe")
    await page.get_by_label("End user").fill("u-99")
    await page.get_by_role("button", name="Make a link").click()
    await page.get_by_role("link", name="Open", exact=True).click()
    await page.get_by_label("Base URL").fill(provider.account("tyrell"))
    await page.get_by_label("API key").fill("key-of-tyrell")
    await page.get_by_role("button", name="Connect").click()
    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()

    await window.open("/connections?integration=stripe")

    await expect(page.locator("tbody tr", has_text="u-99")).to_have_count(1)


async def test_metadata_is_edited(window: Window) -> None:
    page = await window.open("/connections/github/acme")
    metadata = page.get_by_label("JSON object that scripts read")
    for typed, told in (("{ nonsense", "no JSON"), ("[1]", "valid dictionary")):
        await metadata.fill(typed)
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#metadata-form .note.bad")).to_contain_text(told)
        await expect(metadata).to_have_value(typed)

    await metadata.fill('{"repositories": ["web"]}')
    await page.get_by_role("button", name="Save").click()

    await expect(page.locator(".note.done")).to_be_visible()
    await expect(metadata).to_have_value(re.compile('"web"\n'))


async def test_connection_is_deleted(provider: ShowcaseProvider, window: Window) -> None:
    page = await window.open("/connections/new?integration=stripe")
    await page.get_by_label("Connection id").fill("gone")
    await page.get_by_label("Base URL").fill(provider.account("gone"))
    await page.get_by_label("API key").fill("key-of-gone")
    await page.get_by_role("button", name="Connect", exact=True).click()

    await page.get_by_role("button", name="Delete").click()

    await expect(page.locator(".note.done")).to_contain_text("deleted")
    await expect(page.locator("tbody")).not_to_contain_text("gone")


async def test_records_are_browsed_filtered_and_opened(window: Window) -> None:
    page = await window.open("/records")
    await page.get_by_label("Integration").select_option("hubspot")
    row = page.locator("tr", has_text="320")
    await row.get_by_role("link", name="Contact").click()
    first = page.locator("tbody tr summary b").first
    await expect(first).to_have_text("1")

    await page.get_by_role("link", name="More").click()
    await expect(first).to_have_text("51")
    await page.locator("summary").first.click()
    await expect(page.locator("details pre").first).to_contain_text('"email"')

    await page.get_by_label("Last change").select_option("deleted")
    await expect(page.get_by_text("No record is like this")).to_be_visible()
    await page.get_by_role("link", name="Show all").click()
    await page.get_by_label("Id").fill("77")
    await page.keyboard.press("Enter")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(first).to_have_text("77")


async def test_what_is_typed_stays_while_the_page_changes_around_it(
    showcase: Showcase, window: Window
) -> None:
    page = await window.open("/connections/hubspot/acme")
    await page.get_by_label("JSON object that scripts read").fill('{"half": ')
    await page.locator("h1").click()
    newest = page.locator("tbody a[href*='/runs/']").first
    before = await newest.get_attribute("href")

    await showcase.action("hubspot", "acme", "whoami", None)

    await expect(newest).not_to_have_attribute("href", before or "")
    await expect(page.get_by_label("JSON object that scripts read")).to_have_value('{"half": ')
