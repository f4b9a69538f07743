"""Syncs and their runs, followed and steered from their pages."""

from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.dashboard.conftest import Window
from tests.showcase.provider import ShowcaseProvider
from tests.showcase.seed import FAILING, MENDED, Showcase, project_files


async def test_sync_that_is_triggered_shows_its_progress_and_its_end_without_a_reload(
    showcase: Showcase, provider: ShowcaseProvider, window: Window
) -> None:
    await showcase.connect("stripe", "wayne")
    await showcase.until(bool, connection_id="wayne", status="success")
    provider.slow["wayne"] = 1.0
    provider.sizes[("wayne", "invoices")] = 480
    page = await window.open("/syncs/stripe/wayne/invoices")
    await page.get_by_role("button", name="Run now").click()
    await expect(page.get_by_role("status").first).to_contain_text("A run starts now")
    await window.stays()

    progress = page.locator("#progress")
    await expect(progress).to_be_visible()
    await expect(progress.locator(".figure", has_text="Invoice seen")).to_be_visible()

    await expect(progress).to_be_hidden(timeout=60_000)
    await expect(page.locator("h1 .badge")).to_have_text("success")
    await expect(page.locator("td[data-label=Records]").first).to_contain_text("+360")
    await expect(page.locator(".chart .dot").nth(1)).to_be_visible()
    assert await window.is_same()


async def test_sync_is_paused_started_and_given_another_interval(window: Window) -> None:
    page = await window.open("/syncs/stripe/globex/invoices")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("h1 .badge")).to_have_text("paused")
    await expect(page.get_by_text("none is scheduled")).to_be_visible()

    await page.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()

    await page.get_by_label("Interval for this connection").fill("every 3h")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("dd", has_text="every 3h")).to_be_visible()

    await page.get_by_label("Interval for this connection").fill("every now and then")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".note.failed")).to_be_visible()


async def test_sync_starts_over(showcase: Showcase, window: Window) -> None:
    page = await window.open("/syncs/hubspot/acme/companies")
    before = len(await showcase.runs(connection_id="acme", script="companies"))
    await page.get_by_role("button", name="Reset", exact=True).click()
    await expect(page.locator(".note.done")).to_contain_text("starts over")

    await showcase.until(
        lambda runs: len(runs) > before, connection_id="acme", script="companies", status="success"
    )
    await expect(page.locator("h1 .badge")).to_have_text("success")


async def test_failed_run_shows_the_line_and_goes_on_once_its_cause_is_mended(
    showcase: Showcase, window: Window
) -> None:
    (failed, *_) = await showcase.runs(connection_id="globex", status="failed")
    page = await window.open(f"/runs/{failed['id']}")
    await expect(page.locator("li.marked")).to_have_attribute("data-line", "17")
    await expect(page.locator("li.marked")).to_contain_text('raw["requested_reviewers"][0]')
    await expect(page.locator(".timeline")).to_contain_text("save 40 PullRequest")
    await expect(page.locator(".log")).to_contain_text("40 pull requests came")
    await showcase.deploy(project_files(**{FAILING: MENDED}))

    await page.get_by_role("button", name="Retry on the newest deploy").click()
    await window.stays()

    await expect(page.locator("h1 .badge")).to_have_text("success")
    await expect(page.get_by_text("Why it failed")).to_be_hidden()
    await expect(page.locator(".timeline")).to_contain_text("save 80 PullRequest")
    assert await window.is_same()

    # Others look at what fails.
    await showcase.deploy(project_files())
    await showcase.trigger("github", "globex", "pull-requests")
    await showcase.until(bool, connection_id="globex", status="failed")


async def test_run_is_cancelled(showcase: Showcase, window: Window) -> None:
    (running,) = await showcase.runs(script="companies", connection_id="hooli", status="running")
    page = await window.open(f"/runs/{running['id']}")
    await expect(page.get_by_text(re.compile("^[0-9,]+ pages"))).to_be_visible()

    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator("h1 .badge")).to_have_text("cancelled")
    await expect(page.get_by_role("button", name="Retry", exact=True)).to_be_visible()


async def test_run_that_waits_says_for_what_and_until_when(
    showcase: Showcase, window: Window
) -> None:
    waiting = (await showcase.runs(connection_id="initech", status="running"))[0]
    page = await window.open(f"/runs/{waiting['id']}")
    await expect(page.locator("h1 .badge")).to_have_text("waiting")
    await expect(page.locator(".note.wait")).to_contain_text("API rate limit exceeded")
    await expect(page.locator(".note.wait time")).to_contain_text("in ")
    await expect(page.locator(".timeline .badge").first).to_contain_text("attempts")

    for listed in ("/syncs?connection=initech", "/runs?connection_id=initech"):
        page = await window.open(f"{listed}&status=running")
        await expect(page.locator("tbody .badge").first).to_have_text("waiting")


async def test_new_run_appears_in_the_list_by_itself(showcase: Showcase, window: Window) -> None:
    page = await window.open("/runs?script=whoami")
    rows = page.locator("tbody tr")
    await expect(rows.first).to_be_visible()
    before = await rows.count()
    await window.stays()

    await showcase.action("hubspot", "acme", "whoami", None)

    await expect(rows).to_have_count(before + 1)
    assert await window.is_same()


async def test_lists_are_filtered(window: Window) -> None:
    page = await window.open("/syncs")
    await page.get_by_label("Integration").select_option("stripe")
    await expect(page.locator("tbody tr").first).to_contain_text("stripe / invoices")
    await expect(page.locator("tbody")).not_to_contain_text("github")

    await page.get_by_label("Connection").fill("nobody")
    await page.keyboard.press("Enter")

    await expect(page.get_by_text("No sync is like this")).to_be_visible()
