"""A real Chromium, without a window, on a running API."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from perdure.app.container import Container
from tests.support.authorization_server import AuthorizationServer, authorization_server
from tests.support.connect import app_with_providers
from tests.support.serving import served
from tests.support.stack import Stack

# What a page shows may have to wait for a run; `expect` has a limit of its own.
expect.set_options(timeout=30_000)

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium; nothing is downloaded."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A browser of somebody who was never here."""
    context = await chromium.new_context()
    context.set_default_timeout(20_000)
    yield context
    await context.close()


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    """A window."""
    return await context.new_page()


@pytest.fixture
async def api_app(container: Container, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The API with local providers."""
    async with app_with_providers(container, tmp_path) as app:
        yield app


@pytest.fixture
async def api_url(api_app: FastAPI) -> AsyncIterator[str]:
    """Where it listens."""
    async with served(api_app) as url:
        yield url


@pytest.fixture
async def shop(api_url: str, stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """The application, with a key of its environment."""
    headers = {"authorization": f"Bearer {stack.secret_key}"}
    async with httpx.AsyncClient(base_url=api_url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
async def issuer(api_url: str) -> AsyncIterator[AuthorizationServer]:
    """A real authorization server that sends people back to the API."""
    async with authorization_server(redirect_uris=[f"{api_url}/oauth/callback"]) as server:
        yield server
