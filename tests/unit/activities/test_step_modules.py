"""Calls of scripts' functions in threads: bounded in time, and ended when nobody waits any more."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from activities.step_modules import StepModules
from perdure.scripts.interruption import ScriptBlocked


class Spinning:
    """A call that never ends by itself, and tells when it begins and ends."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        try:
            while True:
                pass
        finally:
            self.ended.set()


@pytest.fixture
def modules() -> StepModules:
    return StepModules(cast(Any, None))


async def test_a_call_that_takes_too_long_is_interrupted(modules: StepModules) -> None:
    with pytest.raises(ScriptBlocked):
        await modules.within(0.1, Spinning())


async def test_a_call_that_nobody_waits_for_any_more_gives_its_thread_back(
    modules: StepModules,
) -> None:
    call = Spinning()
    waiting = asyncio.create_task(modules.within(600, call))
    assert await asyncio.to_thread(call.begun.wait, 30)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(call.ended.wait, 30)


async def test_a_call_that_waits_for_a_thread_uses_none_of_its_time(modules: StepModules) -> None:
    modules._short = ThreadPoolExecutor(1)
    freed = threading.Event()
    held = asyncio.create_task(modules.within(600, lambda: freed.wait(30)))
    waiting = asyncio.create_task(modules.within(0.2, lambda: "done"))
    await asyncio.sleep(0.5)

    freed.set()

    assert await waiting == "done"
    assert await held is True


async def test_a_lane_makes_its_calls_one_after_another_and_their_time_begins_then(
    modules: StepModules,
) -> None:
    lane, freed = modules.lane(), threading.Event()
    held = asyncio.create_task(modules.within(600, lambda: freed.wait(30), lane=lane))
    given_up = asyncio.create_task(modules.within(600, lambda: "given up", lane=lane))
    behind = asyncio.create_task(modules.within(0.2, lambda: "behind", lane=lane))
    beside = await modules.within(30, lambda: "beside", lane=modules.lane())
    given_up.cancel()
    await asyncio.sleep(0.5)
    assert (beside, behind.done()) == ("beside", False)

    freed.set()

    assert await behind == "behind"
    assert await held is True


async def test_a_lane_goes_on_behind_a_call_that_failed(modules: StepModules) -> None:
    lane = modules.lane()
    failing = asyncio.create_task(modules.within(0.1, Spinning(), lane=lane))
    behind = asyncio.create_task(modules.within(30, lambda: "behind", lane=lane))

    with pytest.raises(ScriptBlocked):
        await failing
    assert await behind == "behind"


async def test_a_call_that_has_not_begun_is_never_made_once_nobody_waits(
    modules: StepModules,
) -> None:
    modules._short = ThreadPoolExecutor(1)
    freed, made = threading.Event(), threading.Event()
    held = asyncio.create_task(modules.within(600, lambda: freed.wait(30)))
    waiting = asyncio.create_task(modules.within(600, made.set))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    freed.set()
    await held
    await modules.within(600, lambda: None)

    assert not made.is_set()
