"""The worker is killed inside of a function that a script has called as a step; it runs again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.dev import dev_server
from tests.support.project import project

STEPPING = """
import time
from pathlib import Path


async def run_action(nango, input):
    return {"text": str(await nango.run(begin, input["text"]))}


def begin(path: str) -> int:
    with Path(path).open("a") as file:
        file.write("begun\\n")
    times = len(Path(path).read_text().splitlines())
    if times == 1:
        time.sleep(120)  # The worker is killed meanwhile.
    return times
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_step_whose_worker_was_killed_runs_again(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    async with dev_server(tmp_path) as dev:
        await dev.deploy(project(action=STEPPING))
        await dev.connect("http://127.0.0.1:9")
        calling = asyncio.create_task(
            dev.call(
                "POST",
                "/action/trigger",
                headers={"Provider-Config-Key": "tracker", "Connection-Id": "acme"},
                json={"action_name": "echo", "input": {"text": str(begun)}},
            )
        )
        async with asyncio.timeout(30):
            while not begun.exists():
                await asyncio.sleep(0.05)
        dev.kill("worker")

        assert await asyncio.wait_for(calling, 90) == {"text": "2"}
