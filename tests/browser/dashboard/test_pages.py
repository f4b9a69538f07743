"""Every page opens, shows no secret, and is reached by keys."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.dashboard.conftest import Window
from tests.showcase.seed import SECRETS_IN_USE, Showcase

PLACES = (
    "/",
    "/integrations",
    "/integrations/new",
    "/integrations/github",
    "/integrations/github/scripts",
    "/integrations/github/settings",
    "/integrations/github/scripts/sync/issues",
    "/integrations/github/scripts/action/create-issue",
    "/integrations/github/scripts/on-event/greet",
    "/connections",
    "/connections/new",
    "/connections/new?integration=github",
    "/connections/github/acme",
    "/syncs",
    "/syncs?status=failed",
    "/syncs/github/acme/issues",
    "/syncs/hubspot/hooli/companies",
    "/syncs/hubspot/initech/contacts",
    "/runs",
    "/runs?kind=action",
    "/logs",
    "/logs?text=issues&level=info&span=1+hour",
    "/records",
    "/records/github/acme/Issue",
    "/actions",
    "/actions/github/create-issue",
    "/actions/hubspot/whoami",
    "/webhooks",
    "/webhooks/in",
    "/webhooks/settings",
    "/deployments",
    "/settings",
    "/settings/variables",
    "/settings/keys",
    "/settings/audit",
)

MISSING = (
    "/nowhere",
    "/runs/none",
    "/connections/github/nobody",
    "/integrations/nothing",
    "/deployments/x",
    "/settings/x",
)


async def places(showcase: Showcase) -> list[str]:
    """The pages, those of single things included."""
    runs = [run["id"] for run in (await showcase.runs())[:8]]
    delivery = (await showcase.call("GET", "/webhooks/deliveries"))["deliveries"][0]["id"]
    event = (await showcase.call("GET", "/webhooks/events"))["events"][0]["id"]
    deployments = (await showcase.call("GET", "/deployments"))["deployments"]
    return [
        *PLACES,
        *(f"/runs/{run}" for run in runs),
        f"/webhooks/out/{delivery}",
        f"/webhooks/in/{event}",
        *(f"/deployments/{one['id']}" for one in deployments[:2]),
        f"/deployments/{deployments[-1]['id']}/roll-back",
    ]


async def test_every_page_opens_without_a_complaint_and_shows_no_secret(
    showcase: Showcase, window: Window, secret_key: str
) -> None:
    for place in await places(showcase):
        answer = await window.page.goto(f"{window.url}{place}")
        assert answer is not None
        assert answer.status == 200, place
        html = await answer.text()
        for secret in (*SECRETS_IN_USE, secret_key):
            assert secret not in html, place
        assert window.complaints == [], place
        heading = window.page.get_by_role("heading", level=1)
        await expect(heading).to_have_count(1)


async def test_page_that_is_not_there_says_so(window: Window) -> None:
    for path in MISSING:
        answer = await window.page.goto(f"{window.url}{path}")
        assert answer is not None
        assert answer.status in (400, 404), path
        await expect(window.page.get_by_role("link", name="To the overview")).to_be_visible()
    assert all("Failed to load resource" in text for text in window.complaints)
    window.complaints.clear()


async def test_places_are_reached_by_keys(window: Window) -> None:
    page = await window.open()
    await page.keyboard.press("g")
    await page.keyboard.press("r")
    await expect(page).to_have_url(f"{window.url}/runs")

    # Keys are heeded by a script that comes after the page.
    await page.wait_for_load_state("load")
    await page.keyboard.press("/")
    await expect(page.locator("input[type=search]").first).to_be_focused()
    await page.keyboard.type("issues")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("script=issues"))

    await page.wait_for_load_state("load")
    await page.locator("h1").click()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()


async def test_overview_shows_failures_first_and_leads_to_them(
    showcase: Showcase, window: Window
) -> None:
    overview = await showcase.call("GET", "/overview")
    page = await window.open()
    await expect(page.locator(".figure", has_text="connections")).to_contain_text(
        str(overview["connections"])
    )

    await page.get_by_role("link", name=re.compile("IndexError")).click()

    await expect(page.get_by_role("heading", level=1)).to_contain_text("pull-requests")
    await page.go_back()
    await page.locator(".figure", has_text="syncs failing").click()
    await expect(page.locator("tbody tr")).to_have_count(overview["syncs"]["failed"])


async def test_logs_are_searched(window: Window) -> None:
    page = await window.open("/logs")
    await page.get_by_label("Text").fill("CONNECTED the account")
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator(".log li").first).to_contain_text("Connected the account of")

    await page.wait_for_load_state("load")
    await page.get_by_label("Level from").select_option("error")

    await expect(page.get_by_text("No line is like this")).to_be_visible()


async def test_menu_of_a_phone_opens(window: Window) -> None:
    await window.page.set_viewport_size({"width": 390, "height": 800})
    page = await window.open()
    runs = page.get_by_role("navigation").get_by_role("link", name="Runs")
    await expect(runs).to_be_hidden()

    await page.get_by_role("button", name="Menu").click()
    await runs.click()

    await expect(page).to_have_url(f"{window.url}/runs")
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
