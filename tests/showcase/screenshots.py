"""Photographs every page of the dashboard into `docs/images`: `make screenshots`.

It runs the stack that `perdure dev` runs, has a small company use it, and gives its syncs a past.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import asyncpg
from playwright.async_api import Browser, Page

from tests.showcase.pictures import DESK, PHONE, browser, photograph, signed_in
from tests.showcase.provider import showcase_provider
from tests.showcase.seed import Showcase
from tests.support.dev import DevServer, dev_server

_IMAGES = Path(__file__).parents[2] / "docs" / "images"
_SETTLED_MS = 500

# The day before, made of what ran just now: each sync once an hour, with a few changes. The first
# runs, which added everything, have added a few then, too.
_PAST = """
WITH first AS (
    SELECT DISTINCT ON (connection_key, script) * FROM runs
     WHERE kind = 'sync' AND status = 'success' ORDER BY connection_key, script, started_at
), lessened AS (
    UPDATE runs r SET counts = (
        SELECT jsonb_object_agg(
                   model, '{"added": 2, "updated": 31, "deleted": 0, "unchanged": 87}'::jsonb)
          FROM jsonb_object_keys(first.counts) model)
      FROM first WHERE first.id = r.id
)
INSERT INTO runs (id, workflow_id, environment_id, kind, integration, connection_id,
                  connection_key, script, bundle_hash, status, started_at, finished_at, counts)
SELECT r.id || '-' || hour, r.workflow_id, r.environment_id, r.kind, r.integration, r.connection_id,
       r.connection_key, r.script, r.bundle_hash, r.status,
       r.started_at - hour * interval '1 hour', r.finished_at - hour * interval '1 hour',
       (SELECT jsonb_object_agg(model, jsonb_build_object(
                   'added', (hour + length(r.script)) % 5,
                   'updated', (24 + 20 * sin(hour / 2.5 + length(r.script)))::int,
                   'deleted', CASE WHEN hour % 4 = 0 THEN 2 ELSE 0 END,
                   'unchanged', 90))
          FROM jsonb_object_keys(r.counts) model)
  FROM first r, generate_series(1, 22) hour
"""


async def main(folder: Path = _IMAGES) -> None:
    """Make all pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("Chromium is not installed; Debian's package is called chromium.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, showcase_provider() as provider:
        async with dev_server(Path(data)) as dev, browser(chromium) as window:
            environment = await dev.call("GET", "/environment")
            showcase = Showcase(dev.client, provider, environment["name"])
            await showcase.seed()
            await _give_a_past(dev)
            await _take_all(window, dev, await _places(showcase), folder)


async def _give_a_past(dev: DevServer) -> None:
    connection = await asyncpg.connect(dev.info["database_url"])
    try:
        await connection.execute(_PAST)
    finally:
        await connection.close()


async def _places(showcase: Showcase) -> dict[str, str]:
    """Return pages by the name of their picture."""
    (failed, *_) = await showcase.runs(status="failed", kind="sync")
    (waiting, *_) = await showcase.runs(status="running", connection_id="initech")
    events = (await showcase.call("GET", "/webhooks/events"))["events"]
    deliveries = (await showcase.call("GET", "/webhooks/deliveries"))["deliveries"]
    newest, first, *_ = (await showcase.call("GET", "/deployments"))["deployments"]
    return {
        "overview": "/",
        "integrations": "/integrations",
        "integration-connections": "/integrations/github",
        "integration-scripts": "/integrations/github/scripts",
        "integration-settings": "/integrations/github/settings",
        "integration-new": "/integrations/new?search=google",
        "script": "/integrations/github/scripts/sync/issues",
        "connections": "/connections",
        "connection": "/connections/github/acme",
        "connection-new": "/connections/new?integration=github",
        "syncs": "/syncs",
        "sync": "/syncs/github/acme/issues",
        "sync-running": "/syncs/hubspot/hooli/companies",
        "runs": "/runs",
        "run": f"/runs/{failed['id']}",
        "run-waiting": f"/runs/{waiting['id']}",
        "logs": "/logs?text=issues",
        "record-sets": "/records",
        "records": "/records/github/acme/Issue",
        "actions": "/actions",
        "action": "/actions/github/create-issue",
        "webhooks": "/webhooks",
        "webhook": f"/webhooks/out/{deliveries[0]['id']}",
        "webhooks-in": "/webhooks/in",
        "webhook-in": f"/webhooks/in/{events[-1]['id']}",
        "webhook-settings": "/webhooks/settings",
        "deployments": "/deployments",
        "deployment": f"/deployments/{newest['id']}",
        "roll-back": f"/deployments/{first['id']}/roll-back",
        "settings": "/settings",
        "variables": "/settings/variables",
        "keys": "/settings/keys",
        "audit": "/settings/audit",
    }


async def _take_all(window: Browser, dev: DevServer, places: dict[str, str], folder: Path) -> None:
    url, key = dev.info["api_url"], dev.info["secret_key"]
    page = await signed_in(window, url, key, "light", PHONE)
    for name in ("overview", "run"):
        await page.goto(f"{url}/dashboard{places[name]}")
        await _prepare(page, name)
        await photograph(page, folder / f"{name}-phone.png")
    for scheme in ("light", "dark"):
        context = await window.new_context(color_scheme=scheme, viewport=DESK)
        page = await context.new_page()
        await page.goto(f"{url}/dashboard/")
        await photograph(page, folder / f"sign-in-{scheme}.png")
        page = await signed_in(window, url, key, scheme, DESK)
        for name, place in places.items():
            await page.goto(f"{url}/dashboard{place}")
            await _prepare(page, name)
            await photograph(page, folder / f"{name}-{scheme}.png")


async def _prepare(page: Page, name: str) -> None:
    """Do on a page what shows best what it is for."""
    if name == "action":
        await page.get_by_label("Connection").select_option("acme")
        await page.get_by_label("title").fill("Search is slow on large accounts")
        await page.get_by_label("kind").select_option("bug")
        await page.get_by_label("estimate").fill("3")
        await page.get_by_label("labels").fill('["search"]')
        await page.get_by_role("button", name="Call").click()
        await page.locator("#result").wait_for()
    elif name == "records":
        await page.locator("summary").first.click()
    await page.wait_for_timeout(_SETTLED_MS)


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:])))
