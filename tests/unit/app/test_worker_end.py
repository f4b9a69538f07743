"""A worker that was told to end does so in time, whatever it is at."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import cast

import pytest
from temporalio.worker import Worker

from perdure.app.worker_end import end_workers

NEVER_ENDS = """
import asyncio
from perdure.app.worker_end import end_workers

class Worker:
    async def run(self):
        await asyncio.Event().wait()

    async def shutdown(self):
        await self.run()

async def last():
    print("did the last")

async def main():
    workers = [Worker(), Worker()]
    running = [asyncio.create_task(worker.run(), name="works") for worker in workers]
    await end_workers(workers, running, code=CODE, last=last, within=0.2)
    print("went on")

asyncio.run(main())
"""


class Ending:
    """A worker that ends when it is told to, with an error or without."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self._told = asyncio.Event()

    async def run(self) -> None:
        await self._told.wait()
        if self._error is not None:
            raise self._error

    async def shutdown(self) -> None:
        self._told.set()


@pytest.mark.parametrize("code", [0, 1])
def test_what_does_not_end_in_time_is_ended_where_it_stands(code: int) -> None:
    command = [sys.executable, "-c", NEVER_ENDS.replace("CODE", str(code))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert "worker_stopped_where_it_stood" in ended.stdout
    assert "works: Event.wait:" in ended.stdout
    assert "did the last" in ended.stdout
    assert "went on" not in ended.stdout


def test_what_ended_one_worker_is_told_where_the_other_does_not_end() -> None:
    failing = NEVER_ENDS.replace("CODE", "1").replace(
        "running = [", "running = [asyncio.create_task(fail())] + ["
    )
    program = "async def fail():\n    raise OSError('no space left')\n" + failing
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "OSError('no space left')" in ended.stdout


async def test_workers_tell_what_ended_them() -> None:
    failure = RuntimeError("no Temporal")
    workers = [Ending(), Ending(failure)]
    running = [asyncio.create_task(worker.run()) for worker in workers]

    async def nothing() -> None:
        pytest.fail("nothing is left to do")

    found = await end_workers(
        cast("list[Worker]", workers), running, code=1, last=nothing, within=10
    )
    assert found == [None, failure]
