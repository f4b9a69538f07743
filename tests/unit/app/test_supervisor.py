"""A service that does not come up is started again and again, after ever longer waits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from perdure.app.dev import supervisor
from perdure.embedded.process import Guard, Service
from perdure.errors import StartupError


class Brief:
    """A process that answers once it is started first, and never after that."""

    pid = 1
    starts = 0

    @classmethod
    async def start(cls, *_: object) -> Brief:
        cls.starts += 1
        return cls()

    async def wait(self) -> int:
        return 1

    async def until_ready(self, _: object) -> None:
        if Brief.starts > 1:
            msg = "it ended"
            raise StartupError(msg)


class Idle:
    """A guard that nothing happens to."""

    async def keep(self) -> None:
        await asyncio.Event().wait()


async def test_service_that_does_not_come_up_is_waited_for_less_than_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    enough = asyncio.Event()

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            enough.set()
        await asyncio.sleep(0)

    async def answers() -> bool:
        return True

    monkeypatch.setattr(supervisor, "Process", Brief)
    monkeypatch.setattr(supervisor, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": noted}))
    keeper = supervisor.Supervisor(cast(Guard, Idle()), say=lambda *_: None, changed=lambda: None)
    service = Service(name="api", command=(), environment={}, log=Path("api.log"), probe=answers)
    await keeper.start(service)

    keeping = asyncio.create_task(keeper.run())
    async with asyncio.timeout(20):
        await enough.wait()
    keeping.cancel()
    await asyncio.wait({keeping})

    assert waits[0] < 0.5, "so that it answers again within two seconds"
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] < 2
