"""One running stack with a small company on it, which all tests of the dashboard share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, StorageState
from temporalio.worker import Worker

from api.app import create_app
from perdure.app.container import Container
from tests.showcase.provider import ShowcaseProvider, showcase_provider
from tests.showcase.seed import Showcase
from tests.support.serving import served
from tests.support.stack import Stack


@dataclass
class Window:
    """A window of somebody at the dashboard.

    Attributes:
        page: What they see.
        url: Where the dashboard is.
        complaints: What the browser complained of, as a breach of the page's own policy.
    """

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", _accept)

    async def open(self, path: str = "/") -> Page:
        """Go to a page of the dashboard."""
        await self.page.goto(f"{self.url}{path}")
        return self.page

    async def stays(self) -> None:
        """Mark the document, so that `is_same` tells whether it was loaded anew."""
        await self.page.evaluate("window.marked = true")

    async def is_same(self) -> bool:
        """Whether the document is still the one that was marked."""
        return bool(await self.page.evaluate("window.marked === true"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


async def _accept(dialog: Dialog) -> None:
    await dialog.accept()


@pytest.fixture(scope="session")
def provider() -> Iterator[ShowcaseProvider]:
    """The provider of all accounts."""
    with showcase_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
async def showcase(
    container: Container, running_workers: list[Worker], provider: ShowcaseProvider
) -> AsyncIterator[Showcase]:
    """An environment in which much has happened, behind a real socket."""
    assert running_workers
    stack = await Stack.create(container)
    app = create_app(container)
    async with app.router.lifespan_context(app), served(app) as url:
        headers = {"authorization": f"Bearer {stack.secret_key}"}
        # Given up before the server closes them, so that no request meets a closed connection.
        limits = httpx.Limits(keepalive_expiry=1)
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=60, limits=limits
        ) as client:
            showcase = Showcase(client, provider, stack.environment.name)
            await showcase.seed()
            yield showcase


@pytest.fixture(scope="session")
def url(showcase: Showcase) -> str:
    """Where the dashboard is."""
    return str(showcase.client.base_url).rstrip("/") + "/dashboard"


@pytest.fixture(scope="session")
def secret_key(showcase: Showcase) -> str:
    """The key of the environment."""
    return showcase.client.headers["authorization"].removeprefix("Bearer ")


@pytest.fixture(scope="session")
async def session(chromium: Browser, url: str, secret_key: str) -> StorageState:
    """What a browser keeps of somebody who has signed in."""
    context = await chromium.new_context()
    page = await context.new_page()
    await page.goto(f"{url}/")
    await page.get_by_label("API key").fill(secret_key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{url}/")
    state = await context.storage_state()
    await context.close()
    return state


@pytest.fixture
async def stranger(chromium: Browser, url: str) -> AsyncIterator[Window]:
    """A window of somebody who has not signed in."""
    context = await chromium.new_context()
    context.set_default_timeout(20_000)
    yield Window(await context.new_page(), url)
    await context.close()


@pytest.fixture
async def window(chromium: Browser, url: str, session: StorageState) -> AsyncIterator[Window]:
    """A window of somebody who has signed in with the key of the environment.

    Raises:
        AssertionError: The browser complained of something.
    """
    context = await chromium.new_context(storage_state=session)
    context.set_default_timeout(20_000)
    window = Window(await context.new_page(), url)
    yield window
    await context.close()
    assert window.complaints == []
