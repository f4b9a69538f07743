from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.background import AppTasks
from api.connect_results import AttemptResults
from perdure.errors import UnavailableError


class Store:
    """Results, and for how many at once they were asked for."""

    def __init__(self) -> None:
        self.results: dict[UUID, dict[str, Any]] = {}
        self.asked: list[int] = []
        self.is_down = False

    async def take(self, ids: Sequence[UUID]) -> Mapping[UUID, dict[str, Any]]:
        self.asked.append(len(ids))
        if self.is_down:
            raise UnavailableError("The database does not answer.")
        return {key: self.results.pop(key) for key in ids if key in self.results}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.connect_results._LOOK_SECONDS", 0.01)


async def test_one_query_looks_for_all_who_wait() -> None:
    store, ids = Store(), [uuid4() for _ in range(200)]
    results = AttemptResults(store.take, AppTasks(), most=200)
    waiting = [asyncio.create_task(results.wait(key)) for key in ids]
    while not store.asked:
        await asyncio.sleep(0)
    assert results.is_full
    store.is_down = True
    while len(store.asked) < 3:
        await asyncio.sleep(0.001)
    store.results = {key: {"of": str(key)} for key in ids}
    store.is_down = False

    found = await asyncio.gather(*waiting)

    assert [result["of"] for result in found] == [str(key) for key in ids]
    assert set(store.asked) == {200}
    assert not results.is_full


async def test_nobody_is_asked_when_nobody_waits() -> None:
    store, background = Store(), AppTasks()
    results = AttemptResults(store.take, background)
    waiting = asyncio.create_task(results.wait(uuid4()))
    while not store.asked:
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await background.close(5)
    asked = len(store.asked)

    key = uuid4()
    store.results = {key: {}}
    assert await asyncio.wait_for(results.wait(key), 5) == {}
    assert len(store.asked) == asked + 1
