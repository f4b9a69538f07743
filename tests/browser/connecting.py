"""What the tests in a browser do as the application, and as an end user."""

from __future__ import annotations

from typing import Any

import httpx
from playwright.async_api import Page


async def session(shop: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await shop.post("/connect/sessions", json={"end_user": {"id": "u1"}} | body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["data"])


async def make(shop: httpx.AsyncClient, provider: str, **more: Any) -> None:
    body = {"provider": provider, "unique_key": provider} | more
    assert (await shop.post("/integrations", json=body)).status_code == 200


async def agree(page: Page) -> None:
    """Sign in at the authorization server and consent."""
    await page.get_by_placeholder("Enter any login").fill("somebody")
    await page.get_by_placeholder("and password").fill("anything")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()


async def connection_of(shop: httpx.AsyncClient) -> dict[str, Any]:
    (found,) = (await shop.get("/connections")).json()["connections"]
    query = {"provider_config_key": found["provider_config_key"]}
    answer = await shop.get(f"/connections/{found['connection_id']}", params=query)
    return dict(answer.json())
