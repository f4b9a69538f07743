"""What the integration tests share."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
from temporalio.testing import WorkflowEnvironment

from api.app import create_app
from config.settings import Settings
from perdure.app.container import open_container
from perdure.app.worker import locate_script, workers
from perdure.db.migrate import migrate
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.names import SEARCH_ATTRIBUTES
from perdure.temporal.watchdog import Watchdog
from tests.api.calls import client_of
from tests.support.deploys import Deploys
from tests.support.stack import Stack, namespaced, settings_for


@pytest.fixture
async def env(stack: Stack) -> AsyncIterator[Deploys]:
    async with client_of(create_app(stack.container), stack.secret_key) as client:
        yield Deploys(stack, client)


@pytest.fixture
async def skipping(postgres: str) -> AsyncIterator[Stack]:
    """A stack whose Temporal skips the time in which everybody waits."""
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(
            await WorkflowEnvironment.start_time_skipping(
                test_server_existing_path=str(
                    Path(sys.executable).with_name("temporal-test-server")
                )
            )
        )
        service = temporal.client.service_client
        settings = settings_for(postgres, service.config.target_host)
        container = await stack.enter_async_context(open_container(settings, name="skipping"))
        # The test server cannot list what it knows, as our own registration wants to.
        await container.temporal.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace="default",
                search_attributes={
                    key.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
                    for key in SEARCH_ATTRIBUTES
                },
            )
        )
        transport = await stack.enter_async_context(
            HttpTransport(AddressGuard(allow_private_networks=True))
        )
        for worker in workers(container, transport):
            await stack.enter_async_context(worker)
        await service.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
        yield await Stack.create(container)


@pytest.fixture(scope="session")
async def blank_database(postgres: str) -> str:
    """Name of a migrated database to copy; nobody is connected to it."""
    name = "blank"
    await _create_database(postgres, name)
    await migrate(_url_of(postgres, name))
    return name


async def _create_database(url: str, name: str, template: str = "template1") -> None:
    server = await asyncpg.connect(url)
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        await server.close()


def _url_of(url: str, database: str) -> str:
    return url.replace("/perdure?", f"/{database}?")


@pytest.fixture
async def apart(settings: Settings, postgres: str, blank_database: str) -> AsyncIterator[Stack]:
    """A stack with a database and a namespace of its own: a sweep looks at all there is."""
    async with AsyncExitStack() as stack:
        name = f"test_{uuid4().hex}"
        await _create_database(postgres, name, blank_database)
        url = _url_of(postgres, name)
        namespace = (await namespaced(settings)).temporal_namespace
        own = settings_for(url, settings.temporal_address, TEMPORAL_NAMESPACE=namespace)
        container = await stack.enter_async_context(
            open_container(own, name="apart", watchdog=Watchdog(locate_script))
        )
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await stack.enter_async_context(HttpTransport(guard))
        for worker in workers(container, transport):
            await stack.enter_async_context(worker)
        yield await Stack.create(container)
