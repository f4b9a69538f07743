"""Locks between runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from werkzeug import Request, Response

from tests.support.actions import action, call
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

HOUR = timedelta(hours=1)

TRY = "return await nango.try_acquire_lock(key='import', ttl_ms=60_000)"

HOLD = """
async def fetch_data(nango):
    assert await nango.try_acquire_lock(key="import", ttl_ms=600_000)
    assert await nango.try_acquire_lock(key="import", ttl_ms=600_000), "its own again"
    await nango.get("/hold")
    {end}
"""


class Gate:
    """A place of the source where runs wait until they are let on."""

    def __init__(self, source: Source) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        source.server.expect_request("/hold").respond_with_handler(self._hold)

    def _hold(self, _: Request) -> Response:
        self.reached.set()
        self.opened.wait(30)
        return Response("{}", content_type="application/json")


@contextmanager
def gate(source: Source) -> Iterator[Gate]:
    found = Gate(source)
    try:
        yield found
    finally:
        found.opened.set()


@pytest.mark.parametrize("end", ["pass", "raise RuntimeError('no more')", "cancelled"])
async def test_lock_keeps_another_run_out_until_its_holder_ends(
    stack: Stack, source: Source, end: str
) -> None:
    script = HOLD.format(end="pass" if end == "cancelled" else end)
    await stack.deploy(project(script, action(TRY)))
    connection = await stack.connect(source.url)
    with gate(source) as held:
        sync = await stack.start_sync(connection)
        assert await asyncio.to_thread(held.reached.wait, 30)

        assert await taken(stack, connection) is False

        if end == "cancelled":
            await sync.cancel()
        else:
            held.opened.set()
        if end == "pass":
            await sync.result()
        else:
            with pytest.raises(WorkflowFailureError):
                await sync.result()
        assert await taken(stack, connection) is True
    assert await taken(stack, connection) is True, "an action's end releases it as well"


async def taken(stack: Stack, connection: Any) -> bool:
    return (await (await stack.start_action(connection, None)).result())["output"]


async def test_lock_is_released_by_its_holder_only(stack: Stack, source: Source) -> None:
    locks = stack.container.database.locks
    await locks.acquire(stack.environment.id, "theirs", "another run", HOUR)

    seen = await call(
        stack,
        source,
        """
        seen = [await nango.release_lock(key="theirs"), await nango.release_lock(key="none")]
        seen.append(await nango.try_acquire_lock(key="a", ttl_ms=60_000))
        seen.append(await nango.release_lock(key="a"))
        seen.append(await nango.release_lock(key="a"))
        await nango.try_acquire_lock(key="b", ttl_ms=60_000)
        await nango.try_acquire_lock(key="c", ttl_ms=60_000)
        await nango.release_all_locks()
        return [*seen, await nango.release_lock(key="b"), await nango.release_lock(key="c")]
        """,
    )

    assert seen == [False, False, True, True, False, False, False]
    assert await locks.acquire(stack.environment.id, "theirs", "third", HOUR) is False


@pytest.mark.parametrize(
    "arguments",
    [
        "key='', ttl_ms=1",
        "key='k' * 256, ttl_ms=1",
        "key=1, ttl_ms=1",
        "key='k', ttl_ms=0",
        "key='k', ttl_ms=-1",
        "key='k', ttl_ms=1.5",
        "key='k', ttl_ms=True",
        "key='k', ttl_ms=10**15",
    ],
)
async def test_key_and_time_have_bounds(stack: Stack, source: Source, arguments: str) -> None:
    body = f"""
        try:
            await nango.try_acquire_lock({arguments})
        except Exception as error:
            return error.code
        """

    assert await call(stack, source, body) == "invalid_options"
