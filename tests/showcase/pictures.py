"""Photographs pages of the dashboard, as people see them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

__all__ = ["DESK", "PHONE", "browser", "photograph", "signed_in"]

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
_TALLEST = 1_600
_COLOURS = 256


@asynccontextmanager
async def browser(path: str) -> AsyncIterator[Browser]:
    """The system's Chromium."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        await chromium.close()


async def signed_in(
    chromium: Browser, url: str, key: str, scheme: str, size: Mapping[str, int]
) -> Page:
    """Return a page of somebody who has signed in."""
    context = await chromium.new_context(color_scheme=scheme, viewport=size)
    page = await context.new_page()
    await page.goto(f"{url}/dashboard/")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{url}/dashboard/")
    return page


async def photograph(page: Page, file: Path) -> None:
    """Take a picture of all of a page, up to some height, with few colours."""
    height = await page.evaluate("document.documentElement.scrollHeight")
    size = page.viewport_size or DESK
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(height, _TALLEST)}
    taken = await page.screenshot(full_page=True, clip=clip, animations="disabled")
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    # By coverage, since the colours of a few words are those that tell what failed.
    method = Image.Quantize.MAXCOVERAGE
    picture = picture.quantize(_COLOURS, method, kmeans=1, dither=Image.Dither.NONE)
    picture.save(file, optimize=True)
