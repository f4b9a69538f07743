"""The demo, as `make demo` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import uuid
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.timeout(450)

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo.py"


class Demo:
    """A demo under way; its processes are known by a variable that all of them inherit."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str) -> None:
        self.process = process
        self._mark = mark

    @classmethod
    async def start(cls, **environment: str) -> Demo:
        mark = uuid.uuid4().hex
        foreign = ("PERDURE_", "NANGO_", "TEMPORAL_", "STRIPE_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(DEMO)),
            env={**own, "PYTHONPATH": str(ROOT), "DEMO_MARK": mark, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return cls(process, mark)

    async def says(self, words: str) -> None:
        """Wait for a line with these words."""
        assert self.process.stdout is not None
        while words.encode() not in (line := await self.process.stdout.readline()):
            assert line, "the demo has ended too soon"

    async def story(self) -> str:
        """Wait for the end and return all that was told."""
        out, _ = await asyncio.wait_for(self.process.communicate(), 400)
        return out.decode()

    def left_over(self) -> list[str]:
        """Return the command lines of its processes that still run."""
        lines = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("DEMO_MARK") == self._mark:
                    lines.append(" ".join(process.cmdline()))
        return lines


async def test_demo_ends_well_and_leaves_nothing_running() -> None:
    demo = await Demo.start()

    story = await demo.story()

    assert demo.process.returncode == 0, story
    for line in (
        "localstripe answers at",
        "Deployed bundle",
        "Made the connection acme of stripe.",
        "✓ 2,000 customers are saved",
        "✓ 12 products are saved",
        "✓ 2,000 unchanged, none reported",
        "✓ exactly one record was updated",
        "✓ reading on from the last cursor gives that one record, UPDATED",
        "✓ the source has exactly one new customer",
        "✓ no process is left running",
        "The demo ended well.",
    ):
        assert line in story, story
    assert re.search(r"up after \d+\.\d s", story)
    assert re.search(r"http://127\.0\.0\.1:\d+/namespaces/default/workflows/sync", story)
    assert demo.left_over() == []


async def test_interrupted_demo_leaves_nothing_running() -> None:
    demo = await Demo.start()
    await demo.says("A source of customers")
    assert demo.left_over()

    demo.process.send_signal(signal.SIGINT)
    story = await demo.story()

    assert demo.process.returncode == 130, story
    assert "Interrupted; everything has ended." in story
    assert demo.left_over() == []


async def test_demo_says_what_went_wrong() -> None:
    demo = await Demo.start(PERDURE_PROVIDERS="/nowhere")

    story = await demo.story()

    assert demo.process.returncode == 1
    assert "✗ `perdure dev` did not come up" in story
    assert "/nowhere" in story
    assert "Traceback" not in story
    assert demo.left_over() == []
