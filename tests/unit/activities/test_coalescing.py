"""Work that is done for many callers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from activities.coalescing import Coalesced


class Work:
    """Doubles numbers when it is let, and notes which ones it was given together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.goes_on = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        await self.goes_on.wait()
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


async def test_who_comes_meanwhile_is_served_together_and_in_order() -> None:
    work = Work()
    doubled = Coalesced(work, most=3)
    callers = [asyncio.create_task(doubled(0))]
    await asyncio.sleep(0.01)
    callers += [asyncio.create_task(doubled(number)) for number in range(1, 6)]
    await asyncio.sleep(0.01)
    assert work.batches == [[0]]
    work.goes_on.set()

    assert await asyncio.gather(*callers) == [0, 2, 4, 6, 8, 10]
    assert work.batches == [[0], [1, 2, 3], [4, 5]]
    assert await doubled(6) == 12


async def test_error_of_one_is_raised_for_it_alone() -> None:
    work = Work()
    work.goes_on.set()
    doubled = Coalesced(work, most=10)
    one, two = await asyncio.gather(doubled(-1), doubled(2), return_exceptions=True)
    assert isinstance(one, ValueError)
    assert two == 4


async def test_error_of_the_work_is_raised_for_all_and_the_next_are_served() -> None:
    fails = True

    async def work(numbers: Sequence[int]) -> list[int]:
        if fails:
            msg = "away"
            raise ConnectionError(msg)
        return list(numbers)

    same = Coalesced(work, most=10)
    failed = await asyncio.gather(same(1), same(2), return_exceptions=True)
    assert [type(error) for error in failed] == [ConnectionError] * 2
    fails = False
    assert await same(3) == 3


async def test_caller_who_gives_up_keeps_nobody_from_an_answer() -> None:
    work = Work()
    doubled = Coalesced(work, most=10)
    first = asyncio.create_task(doubled(1))
    second = asyncio.create_task(doubled(2))
    await asyncio.sleep(0.01)
    first.cancel()
    work.goes_on.set()

    assert await second == 4
    with pytest.raises(asyncio.CancelledError):
        await first
