import asyncio
from typing import Any, cast

from perdure.app.sync_watch import watching_syncs
from perdure.db.overview import OverviewStore


class FaultyAtFirst:
    """Fails in a way that nobody foresaw, then answers."""

    def __init__(self) -> None:
        self.looks = 0
        self.answered = asyncio.Event()

    async def outcomes(self) -> dict[Any, int]:
        self.looks += 1
        if self.looks == 1:
            raise ZeroDivisionError
        self.answered.set()
        return {}


async def test_a_look_that_fails_in_an_unforeseen_way_is_not_the_last_one() -> None:
    store = FaultyAtFirst()
    async with watching_syncs(cast("OverviewStore", store), every=0):
        await asyncio.wait_for(store.answered.wait(), 10)
    assert store.looks >= 2
