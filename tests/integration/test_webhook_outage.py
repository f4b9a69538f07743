"""A receiver is down for longer than anybody waits; Temporal's test server skips the time."""

from __future__ import annotations

import asyncio
import sysconfig
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from werkzeug import Response

from activities.sync_schedules import SyncSchedules
from perdure.app.container import Container
from perdure.app.worker import workers
from perdure.db.webhook_deliveries import Delivery, DeliveryStatus
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.names import SEARCH_ATTRIBUTES
from perdure.temporal.plugin import PerdurePlugin
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.source import Source
from tests.support.stack import Stack

TEST_SERVER = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
FAILING = "async def fetch_data(nango):\n    raise RuntimeError('no more')\n"


@dataclass
class Skipping:
    """A running Perdure whose time is skipped while nothing happens."""

    stack: Stack
    env: WorkflowEnvironment
    loop: asyncio.AbstractEventLoop

    def now(self) -> datetime:
        """The time of the test server, asked for from another thread."""
        coroutine = self.env.get_current_time()
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def deliveries(self) -> list[Delivery]:
        database = self.stack.container.database
        return list(reversed(await database.deliveries.list(self.stack.environment.id)))

    async def until_ended(self) -> list[Delivery]:
        """Let time pass until no delivery is pending."""
        for _ in range(24 * 4):
            await self.env.sleep(timedelta(hours=1))
            found = await self.deliveries()
            if all(one.status is not DeliveryStatus.PENDING for one in found):
                return found
        pytest.fail("a delivery is pending after four days")


@pytest.fixture
async def skipping(container: Container) -> AsyncIterator[Skipping]:
    async with AsyncExitStack() as opened:
        env = await opened.enter_async_context(
            await WorkflowEnvironment.start_time_skipping(
                plugins=[PerdurePlugin(container.temporal.data_converter)],
                test_server_existing_path=str(TEST_SERVER),
            )
        )
        # Temporal's test server adds search attributes but does not list them.
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=env.client.namespace,
                search_attributes={key.name: KEYWORD for key in SEARCH_ATTRIBUTES},
            )
        )
        parts = replace(container, temporal=env.client, schedules=SyncSchedules(env.client))
        guard = AddressGuard(allow_private_networks=True)
        transport = await opened.enter_async_context(HttpTransport(guard))
        for worker in workers(parts, transport):
            await opened.enter_async_context(worker)
        yield Skipping(await Stack.create(parts), env, asyncio.get_running_loop())


async def test_receiver_that_is_down_for_a_day_loses_nothing(
    skipping: Skipping, source: Source, httpserver: HTTPServer
) -> None:
    stack = skipping.stack
    receiver = Receiver(httpserver)
    back_at = await skipping.env.get_current_time() + timedelta(days=1)
    receiver.before = lambda _: Response("", 503) if skipping.now() < back_at else None
    await stack.container.database.webhook_settings.change(
        stack.environment.id, {"primary_url": receiver.url}
    )
    await stack.deploy(project())
    connection = await stack.connect(source.url)
    await stack.run_sync(connection)
    await stack.deploy(project(FAILING))
    with pytest.raises(WorkflowFailureError):
        await stack.run_sync(connection)
    told = await skipping.deliveries()
    assert [one.subject for one in told] == ["issues: Issue", "issues failed"]

    ended = await skipping.until_ended()

    assert await skipping.env.get_current_time() >= back_at
    assert sorted(one.delivery for one in receiver.taken) == sorted(str(one.id) for one in told)
    for delivery in ended:
        assert delivery.status == "delivered"
        assert 50 <= delivery.attempts <= 70, "it was asked seldom, yet every half hour"


async def test_receiver_that_never_comes_back_is_given_up_after_three_days(
    skipping: Skipping, source: Source, httpserver: HTTPServer
) -> None:
    stack = skipping.stack
    receiver = Receiver(httpserver)
    receiver.before = lambda _: Response("", 503)
    await stack.container.database.webhook_settings.change(
        stack.environment.id, {"primary_url": receiver.url}
    )
    await stack.deploy(project())
    began = await skipping.env.get_current_time()
    await stack.run_sync(await stack.connect(source.url))

    (given_up,) = await skipping.until_ended()

    days = (await skipping.env.get_current_time() - began) / timedelta(days=1)
    assert 2.9 < days < 3.1
    assert (given_up.status, given_up.last_error) == ("failed", "the receiver answered 503")
