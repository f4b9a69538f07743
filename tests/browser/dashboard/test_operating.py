"""Actions, webhooks, deployments, variables and keys."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.dashboard.conftest import Window
from tests.showcase.seed import Showcase, project_files


async def test_action_is_called_by_a_form_of_its_input(window: Window) -> None:
    page = await window.open("/actions/github/create-issue")
    await page.get_by_label("Connection").select_option("acme")
    await page.get_by_label("title").fill("From the dashboard")
    await page.get_by_label("kind").select_option("feature")
    await page.get_by_label("labels").fill('["wanted"]')
    await page.get_by_label("draft").check()
    await page.get_by_role("button", name="Call").click()

    await expect(page.locator("#result .note.done")).to_be_visible()
    await expect(page.locator("#result pre")).to_contain_text("From the dashboard")
    assert await page.get_by_label("title").input_value() == "From the dashboard"


async def test_action_that_fails_says_why_with_its_payload(window: Window) -> None:
    page = await window.open("/actions/github/close-issue")
    await page.get_by_label("Connection").select_option("acme")
    await page.get_by_label("id", exact=True).fill("3")
    await page.get_by_role("button", name="Call").click()

    await expect(page.locator("#result .note.bad")).to_be_visible()
    await expect(page.locator("#result pre")).to_contain_text("closed already")


async def test_input_that_cannot_be_read_is_told_and_kept(window: Window) -> None:
    page = await window.open("/actions/github/create-issue")
    await page.get_by_label("title").fill("Kept")
    await page.get_by_label("labels").fill("[wanted")
    await page.get_by_role("button", name="Call").click()

    await expect(page.locator("#result .note.bad")).to_contain_text("labels: this is no JSON")
    assert await page.get_by_label("labels").input_value() == "[wanted"


async def test_action_is_disabled_and_enabled(window: Window) -> None:
    page = await window.open("/actions/hubspot/whoami")
    await page.get_by_role("button", name="Disable").click()
    await expect(page.locator("h1 .badge")).to_have_text("disabled")

    await page.get_by_role("button", name="Enable").click()
    await page.get_by_role("button", name="Call").click()

    await expect(page.locator("#result pre")).to_contain_text('"login"')


async def test_webhook_is_sent_again(window: Window) -> None:
    page = await window.open("/webhooks")
    await page.locator("tbody a").first.click()
    await expect(page.locator(".timeline li")).to_have_count(1)

    await page.get_by_role("button", name="Send again").click()

    await expect(page.locator(".timeline li")).to_have_count(2)
    await expect(page.locator("h1 .badge")).to_have_text("delivered")


async def test_webhook_of_a_provider_is_handled_again(window: Window) -> None:
    page = await window.open("/webhooks/in?type=issues.opened")
    await page.locator("tbody a").first.click()
    await expect(page.locator("pre").first).to_contain_text("Opened at the provider")
    handled = page.locator(".timeline li")
    before = await handled.count()

    await page.get_by_role("button", name="Handle again").click()

    await expect(page.locator(".note.done")).to_be_visible()
    await expect(handled).not_to_have_count(before)
    await expect(page.locator("h1 .badge")).to_have_text("processed")


async def test_settings_of_webhooks_are_changed(showcase: Showcase, window: Window) -> None:
    page = await window.open("/webhooks/settings")
    await page.get_by_label("A sync failed").uncheck()
    await page.get_by_role("button", name="Save").click()

    await expect(page.locator(".note.done")).to_be_visible()
    await expect(page.get_by_label("A sync failed")).not_to_be_checked()
    assert not (await showcase.call("GET", "/environment/webhooks"))["on_sync_error"]


async def test_deployment_is_put_back(showcase: Showcase, window: Window) -> None:
    files = project_files()
    await showcase.deploy(files)
    config = files["nango.yaml"].replace("every 30min", "every 45min")
    await showcase.deploy({**files, "nango.yaml": config})
    page = await window.open("/deployments")
    await page.locator("tbody a").nth(1).click()
    await page.get_by_role("link", name="Roll back to this").click()
    await expect(page.locator("tbody")).to_contain_text("every 45min")

    await page.get_by_role("button", name="Roll back").click()

    await expect(page.locator(".note.done")).to_contain_text("is put back")
    await expect(page.locator("tbody .badge").first).to_have_text("in force")
    await page.locator("tbody a").first.click()
    await expect(page.locator("pre.diff .plus", has_text="every 30min")).to_be_visible()


async def test_variable_is_set_and_deleted_and_never_shown(window: Window) -> None:
    page = await window.open("/settings/variables")
    await page.get_by_label("Name").fill("PASSPHRASE")
    await page.get_by_label("Value").fill("hush-hush-passphrase")
    await page.get_by_role("button", name="Set").click()
    row = page.locator("tr", has_text="PASSPHRASE")
    await expect(row).to_be_visible()
    assert "hush-hush-passphrase" not in await page.content()

    await row.get_by_role("button", name="Delete").click()

    await expect(page.locator(".note.done")).to_contain_text("PASSPHRASE is deleted")
    await expect(row).to_be_hidden()


async def test_key_is_shown_once_and_opens_nothing_after_it_was_revoked(
    showcase: Showcase, window: Window
) -> None:
    page = await window.open("/settings/keys")
    await page.get_by_label("Name").fill("reporting")
    await page.get_by_text("Or only this").click()
    await page.get_by_label("environment:records:read").check()
    await page.get_by_role("button", name="Make the key").click()
    key = await page.locator("pre").inner_text()
    bearer = {"authorization": f"Bearer {key}"}
    answer = await showcase.client.get("/record-sets", headers=bearer)
    assert answer.status_code == 200

    await window.open("/settings/keys")
    assert key not in await page.content()
    row = page.locator("tr", has_text="reporting")
    await expect(row).to_contain_text("environment:records:read")
    await row.get_by_role("button", name="Revoke").click()

    await expect(row).to_be_hidden()
    answer = await showcase.client.get("/record-sets", headers=bearer)
    assert answer.status_code == 401


async def test_integration_is_made_and_its_secrets_are_set_but_not_shown(window: Window) -> None:
    page = await window.open("/integrations/new")
    await page.get_by_label("Provider").fill("github")
    await page.keyboard.press("Enter")
    row = page.locator("tr", has=page.get_by_text("github", exact=True))
    await row.get_by_label("Key of the integration").fill("code")
    await row.get_by_role("button", name="Make").click()
    await expect(page).to_have_url(f"{window.url}/integrations/code/settings")

    await page.get_by_label("Client id").fill("our-client")
    await page.get_by_label("Client secret").fill("our-client-secret-of-code")
    await page.get_by_role("button", name="Save").click()

    await expect(page.get_by_text("is set; what you write replaces it")).to_be_visible()
    await expect(page.get_by_label("Client id")).to_have_value("our-client")
    assert "our-client-secret-of-code" not in await page.content()
    await page.get_by_role("button", name="Delete the integration").click()
    await expect(page.locator(".note.done")).to_contain_text("deleted")
