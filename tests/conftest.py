"""Real servers, started once a session: Postgres and Temporal as users run them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import hypothesis
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
from tests.support.log_tape import LogTape
from tests.support.secret_search import Found, SecretSearch, assert_none
from tests.support.secret_texts import SECRETS, learn_from_product
from tests.support.source import Source, issues
from tests.support.stack import Stack, settings_for

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("everyday", max_examples=30, deadline=None)
hypothesis.settings.register_profile("thorough", max_examples=300, deadline=None)
hypothesis.settings.load_profile("everyday")

TAPE = pytest.StashKey[LogTape]()
FOUND: set[Found] = set()
"""Secrets in clear; told of once everything is over, since all of them matter."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Write down what was printed, by processes that a test started, too."""
    report = yield
    tape = item.config.stash.get(TAPE, None)
    for title, text in report.sections:
        if tape is not None and title.startswith(("Captured stdout", "Captured stderr")):
            tape.write(f"{item.nodeid} {title}", text)
    return report


@pytest.fixture(scope="session", autouse=True)
def secrets_stand_nowhere(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail the run if a secret of any test stands in clear in a log, a database or a history.

    It is begun first and ends last: `postgres` and `temporal` have been searched by then.
    """
    tape = pytestconfig.stash[TAPE] = LogTape(tmp_path_factory.mktemp("log") / "tape")
    tape.start()
    with pytest.MonkeyPatch.context() as patch:
        learn_from_product(SECRETS, patch)
        yield
    # Teardown of the last test may be reported after this.
    del pytestconfig.stash[TAPE]
    search = SecretSearch(SECRETS)
    FOUND.update(search.in_lines(tape.stop()))
    for path in tmp_path_factory.getbasetemp().rglob("*.log"):
        FOUND.update(search.in_lines(path))
    assert_none(FOUND)


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of a migrated database."""
    folder: Path = tmp_path_factory.mktemp("postgres")
    async with embedded_postgres(folder) as url:
        await migrate(url)
        yield url
        FOUND.update(await SecretSearch(SECRETS).in_database(url))


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Address of a Temporal dev server."""
    folder: Path = tmp_path_factory.mktemp("temporal")
    async with embedded_temporal(folder) as address:
        yield address
        FOUND.update(await SecretSearch(SECRETS).in_temporal(address))


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
