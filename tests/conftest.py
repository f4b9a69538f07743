"""Real servers, started once a session: Postgres and Temporal as users run them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from temporalio.worker import Worker

from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.worker import locate_script, workers
from perdure.db.migrate import migrate
from perdure.embedded import embedded_postgres, embedded_temporal
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.watchdog import Watchdog
from tests.support.source import Source, issues
from tests.support.stack import Stack, settings_for


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of a migrated database."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    async with embedded_postgres(folder) as url:
        await migrate(url)
        yield url


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Address of a Temporal dev server."""
    folder: Path = tmp_path_factory.mktemp("temporal")
    async with embedded_temporal(folder) as address:
        yield address


@pytest.fixture(scope="session")
async def settings(postgres: str, temporal: str) -> Settings:
    """Settings of processes on the session's servers."""
    return settings_for(postgres, temporal)


@pytest.fixture(scope="session")
async def container(settings: Settings) -> AsyncIterator[Container]:
    """The parts of a process, connected; no worker runs."""
    watchdog = Watchdog(locate_script)
    async with open_container(settings, name="perdure-tests", watchdog=watchdog) as container:
        await register_search_attributes(container.temporal)
        yield container


@pytest.fixture(scope="session")
async def running_workers(container: Container) -> AsyncIterator[list[Worker]]:
    """Workers in this process."""
    async with AsyncExitStack() as stack:
        guard = AddressGuard(allow_private_networks=True)
        transport = await stack.enter_async_context(HttpTransport(guard))
        running = workers(container, transport)
        for worker in running:
            await stack.enter_async_context(worker)
        yield running


@pytest.fixture
async def stack(container: Container, running_workers: list[Worker]) -> Stack:
    """An environment of its own on a running stack."""
    assert running_workers
    return await Stack.create(container)


@pytest.fixture
def source(httpserver: HTTPServer) -> Source:
    """A local API with 250 issues."""
    return Source(httpserver, issues(250))
