"""A process of the rehearsal that does not come up is named, with the end of its log."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.embedded.process import Guard, Service
from perdure.errors import StartupError
from rehearsal.cluster import Part


async def never() -> bool:
    return False


def fail() -> None:
    raise OSError("no space left")


@pytest.fixture
async def guard() -> AsyncIterator[Guard]:
    async with Guard() as guard:
        yield guard


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = tmp_path / "api-1.log"
    log.write_text("what it said last time\n")
    return log


@pytest.mark.timeout(20)
async def test_process_that_cannot_be_started_is_named_at_once(guard: Guard, log: Path) -> None:
    service = Service(
        name="api-1", command=("true",), environment={}, log=log, probe=never, before=fail
    )

    with pytest.raises(StartupError) as failed:
        async with Part(service, guard).kept():
            pass

    assert failed.value.message.startswith("api-1 could not be started: OSError('no space left')")
    assert "what it said last time" in failed.value.message


@pytest.mark.timeout(20)
async def test_process_that_does_not_begin_again_is_waited_for_only_so_long(
    guard: Guard, log: Path
) -> None:
    async def at_once() -> bool:
        return True

    service = Service(
        name="api-1",
        command=(sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"),
        environment=dict(os.environ),
        log=log,
        probe=at_once,
    )
    part = Part(service, guard)
    async with part.kept():
        part._started.clear()  # as after a signal that it does not heed

        with pytest.raises(StartupError) as failed:
            await part.until_ready(patience=0.2)

    assert failed.value.message.startswith("api-1 did not begin in time; the last lines")


@pytest.mark.timeout(20)
async def test_process_that_ends_before_it_is_ready_is_started_again_and_has_surprised(
    guard: Guard, log: Path
) -> None:
    service = Service(
        name="api-1",
        command=("/bin/sh", "-c", "exit 3"),
        environment=dict(os.environ),
        log=log,
        probe=never,
    )
    part = Part(service, guard)

    with pytest.raises(StartupError, match=r"api-1 (was not ready|did not begin)"):
        async with part.kept(patience=4):
            pass

    assert len(part.surprises) > 1
    assert set(part.surprises) == {3}


_DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.timeout(30)
async def test_process_that_does_not_end_in_time_is_told_of_unless_it_is_of_the_release_before(
    guard: Guard, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehearsal.cluster._GRACE_SECONDS", 0.3)
    monkeypatch.setattr("rehearsal.cluster._LAST_WORDS_SECONDS", 0.3)
    # What is read is what it said, and not what its successor says.
    monkeypatch.setattr("rehearsal.cluster._RESTART_SECONDS", 1.5)

    async def is_deaf() -> bool:
        return log.read_text().endswith("up\n")

    def forget() -> None:
        log.write_text("")

    service = Service(
        name="worker-1",
        command=(sys.executable, "-c", _DEAF),
        environment={**os.environ, "OLD_CODE": "/before"},
        log=log,
        probe=is_deaf,
        before=forget,
    )
    part = Part(service, guard, before=("OLD_CODE",))
    async with part.kept():
        part.take_new_code()
        await part.restart()
        assert (part.late_before, part.last_words) == (1, [])
        await part.restart()

    assert part.late_before == 1
    [words] = part.last_words
    assert "up" in words
