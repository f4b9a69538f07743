"""Work that outlives its request."""

from __future__ import annotations

import asyncio

import pytest

from api.background import AppTasks


async def test_closing_waits_for_what_is_under_way() -> None:
    tasks, done = AppTasks(), asyncio.Event()

    async def work() -> int:
        await done.wait()
        return 7

    task = tasks.start(work())
    asyncio.get_running_loop().call_soon(done.set)
    await tasks.close(10)

    assert task.result() == 7


async def test_closing_cancels_what_does_not_end_in_time() -> None:
    tasks = AppTasks()
    task = tasks.start(asyncio.Event().wait())

    await tasks.close(0.01)

    assert task.cancelled()


async def test_error_reaches_whoever_awaits() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await asyncio.shield(AppTasks().start(work()))
