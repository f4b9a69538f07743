"""Hooks that take too long are ended, and hold nothing up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from api.app import create_app
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.worker import workers
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from tests.api.calls import client_of, error_of
from tests.support.deploys import Deploys
from tests.support.hooks import with_hooks
from tests.support.stack import Stack, namespaced

LIMIT = 10.0

STUBBORN = """
import asyncio

async def on_event(nango):
    await nango.try_acquire_lock(key="mine", ttl_ms=600_000)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
"""
QUICK = "async def on_event(nango):\n    await nango.log('done')\n"
TAKES_LOCK = """
async def on_event(nango):
    assert await nango.try_acquire_lock(key="mine", ttl_ms=1000), "the lock is taken"
"""


@pytest.fixture(scope="module")
async def brief(settings: Settings) -> AsyncIterator[Container]:
    """Workers of a namespace in which hooks may take a few seconds."""
    async with AsyncExitStack() as opened:
        own = await namespaced(settings, hook_limit_seconds=LIMIT)
        container = await opened.enter_async_context(open_container(own, name="brief"))
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await opened.enter_async_context(HttpTransport(guard))
        for worker in workers(container, transport):
            await opened.enter_async_context(worker)
        yield container


@pytest.fixture
async def env(brief: Container) -> AsyncIterator[Deploys]:
    stack = await Stack.create(brief)
    await brief.database.integrations.create(stack.environment.id, "tracker", "generic-api-key")
    async with client_of(create_app(brief), stack.secret_key) as client:
        yield Deploys(stack, client)


BODY = {
    "provider_config_key": "tracker",
    "connection_id": "acme",
    "credentials": {"type": "API_KEY", "api_key": "k"},
}


async def outcomes(env: Deploys) -> list[tuple[str, str]]:
    runs = await env.runs(kind="on-event")
    return [(run.script, run.status.value) for run in reversed(runs)]


async def test_connection_is_made_although_a_hook_takes_too_long(env: Deploys) -> None:
    scripts = {"slow": STUBBORN, "quick": TAKES_LOCK}
    await env.deploy(with_hooks(create=["slow", "quick"], scripts=scripts))

    answer = await env.client.post("/connections", json=BODY)

    assert answer.status_code == 200, answer.text
    assert await outcomes(env) == [("slow", "timeout"), ("quick", "success")]
    slow = (await env.runs(kind="on-event", script="slow"))[0]
    assert slow.error is not None
    assert slow.error["type"] == "hook_timeout"


async def test_connection_whose_check_takes_too_long_is_refused(env: Deploys) -> None:
    await env.deploy(with_hooks(validate=["slow"], scripts={"slow": STUBBORN}))

    answer = await env.client.post("/connections", json=BODY)

    assert error_of(answer) == (400, "connection_validation_failed")
    assert "10 seconds" in answer.text
    assert (await env.client.get("/connections")).json() == {"connections": []}


async def test_connection_is_deleted_although_a_hook_takes_too_long(env: Deploys) -> None:
    scripts = {"slow": STUBBORN, "quick": QUICK}
    await env.deploy(with_hooks(delete=["slow", "quick"], scripts=scripts))
    await env.client.post("/connections", json=BODY)

    answer = await env.client.delete("/connections/acme?provider_config_key=tracker")

    assert answer.json() == {"success": True}
    assert await outcomes(env) == [("slow", "timeout"), ("quick", "success")]
    assert (await env.client.get("/connections")).json() == {"connections": []}
