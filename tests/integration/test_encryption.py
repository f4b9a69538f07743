"""`PERDURE_ENCRYPT_PAYLOADS=all` leaves nothing readable in a history."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from temporalio.client import WorkflowFailureError

from config.settings import Settings
from perdure.app.container import open_container
from perdure.app.worker import workers
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.failures import describe_failure
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack, namespaced

SCRIPT = """
async def fetch_data(nango):
    page = (await nango.get(endpoint="/issues")).data["items"]
    await nango.batch_save([{"id": i["id"], "title": "plaintext-title"} for i in page], "Issue")
    raise RuntimeError("plaintext-error")
"""


async def test_payloads_and_failures_are_encrypted_and_readable_with_the_key(
    settings: Settings, source: Source
) -> None:
    async with AsyncExitStack() as opened:
        container = await opened.enter_async_context(
            open_container(await namespaced(settings, encrypt_payloads="all"), name="encrypted")
        )
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await opened.enter_async_context(HttpTransport(guard))
        for worker in workers(container, transport):
            await opened.enter_async_context(worker)
        stack = await Stack.create(container)
        await stack.deploy(project(SCRIPT))

        handle = await stack.start_sync(await stack.connect(source.url))
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()

        assert "plaintext-error" in describe_failure(caught.value)["message"]
        raw = b"".join(e.SerializeToString() for e in (await handle.fetch_history()).events)
        assert b"plaintext" not in raw
        assert b"Issue" not in raw
