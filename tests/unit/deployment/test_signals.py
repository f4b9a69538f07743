"""A process ends at once when it is told again, also the first one of a container."""

from __future__ import annotations

import signal
import subprocess
import sys

# What the kernel does by itself with SIGTERM it does not do to the first process of a container:
# an exit code of our own says that we did it.
PROCESS = """
import os, signal, sys
import {runner}
from perdure.app.signals import end_where_it_stands, stopped_by_signals

def tell():
    os.kill(os.getpid(), signal.SIGTERM)

async def main():
    import asyncio
    stop = asyncio.Event()
    with stopped_by_signals(stop.set):
        tell()
        await stop.wait()
    if "closing" in sys.argv:
        tell()
        await asyncio.sleep(5)

end_where_it_stands()
{runner}.run(main())
tell()
"""


def code_of(runner: str, *arguments: str) -> int:
    program = PROCESS.format(runner=runner)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], check=False, timeout=20
    ).returncode


def test_second_signal_ends_a_process_that_is_closing_what_it_has_open() -> None:
    for runner in ("asyncio", "uvloop"):
        assert code_of(runner, "closing") == 128 + signal.SIGTERM


def test_second_signal_ends_a_process_whose_loop_has_ended() -> None:
    for runner in ("asyncio", "uvloop"):
        assert code_of(runner) == 128 + signal.SIGTERM
