"""The worker process: it gives signs of life, and what it was at when it ends goes on elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from config.settings import Settings
from perdure.app.cli.commands import processes
from perdure.app.cli.errors import CliError
from perdure.app.container import open_container
from perdure.app.sign_of_life import is_alive
from perdure.embedded.ports import LOOPBACK, choose_ports
from perdure.temporal.client import register_search_attributes
from tests.support.deaf_ears import way_to
from tests.support.deploys import eventually
from tests.support.exposition import scrape
from tests.support.processes import perdure_process
from tests.support.project import project
from tests.support.promql import queries
from tests.support.source import Source
from tests.support.stack import Stack, namespaced

_FAILED_POLLS = "temporal_long_request_failure_total"

# A library of a user's own, in a thread that nobody can interrupt.
CALLS_OUT = """
import urllib.request


def fetch(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status


async def run_action(nango, input):
    return await nango.run(fetch, input)
"""


@pytest.fixture
async def own(settings: Settings) -> Settings:
    """Settings of workers that nobody else's tasks come to."""
    return await namespaced(settings)


def probed(file: Path | None) -> None:
    """Do what `perdure worker --check` does."""
    processes._check(Settings(ready_file=file))


def test_probe_tells_a_worker_that_lives_from_one_that_does_not(tmp_path: Path) -> None:
    file = tmp_path / "ready"
    with pytest.raises(CliError) as missing:
        probed(file)
    file.touch()
    probed(file)
    long_ago = time.time() - 60
    os.utime(file, (long_ago, long_ago))
    with pytest.raises(CliError) as old:
        probed(file)
    with pytest.raises(CliError) as unset:
        probed(None)

    assert [missing.value.code, old.value.code] == ["worker_not_alive"] * 2
    assert str(file) in old.value.message
    assert "PERDURE_READY_FILE" in unset.value.message


async def test_worker_gives_signs_of_life_until_it_is_told_to_end(
    own: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "ready"
    variables = {"PERDURE_READY_FILE": str(file)}
    async with perdure_process("worker", own, tmp_path / "worker.log", **variables) as worker:
        await worker.says("worker_started")
        long_ago = time.time() - 60
        os.utime(file, (long_ago, long_ago))

        async def touched_again() -> bool:
            return is_alive(file)

        await eventually(touched_again)
        worker.signal()
        assert await worker.ended() == 0
    assert not file.exists()


async def test_worker_that_lost_temporal_says_so_in_its_own_log_and_in_what_the_alert_asks_for(
    own: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    metrics = f"{LOOPBACK}:{choose_ports({'metrics': 0})['metrics']}"
    variables = {"PERDURE_METRICS_ADDRESS": metrics}
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(AsyncExitStack())
        way = await there.enter_async_context(way_to(own.temporal_address))
        through = own.model_copy(update={"temporal_address": way.address})
        worker = await stack.enter_async_context(
            perdure_process("worker", through, log, **variables)
        )
        await worker.says("worker_started")
        await there.aclose()
        await worker.says("gRPC call")

        # Each poller fails by itself: the one that the log told of first may be an activity's.
        async def workflow_poll_failed() -> bool:
            counted = await scrape(metrics)
            return counted.value(_FAILED_POLLS, operation="PollWorkflowTaskQueue") > 0

        await eventually(workflow_poll_failed)
        counted = await scrape(metrics)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (complaint, *_) = [line for line in lines if "gRPC call" in line["message"]]
    assert complaint["level"] == "warning"
    assert complaint["sdk"]["target"].startswith("temporalio_client")
    (alert,) = [each for each in queries() if 'status_code=~"UNAVAILABLE' in each]
    for name, codes in re.findall(r'(temporal_\w+)\{status_code=~"(\S+?)"', alert):
        for served, labels, _ in counted.samples:
            if served == name:
                assert re.fullmatch(codes, labels["status_code"])
    assert _FAILED_POLLS in alert


@pytest.mark.parametrize(
    ("signals", "code", "seconds"), [(1, 0, 20), pytest.param(2, 143, 5, marks=pytest.mark.slow)]
)
async def test_step_of_a_worker_that_was_told_to_end_is_done_by_another(
    own: Settings, source: Source, tmp_path: Path, signals: int, code: int, seconds: float
) -> None:
    asked, go_on = [threading.Event(), threading.Event()], threading.Event()

    def hold(_: int) -> None:
        first = not asked[0].is_set()
        asked[0 if first else 1].set()
        if first:
            go_on.wait(40)

    source.before = hold
    async with open_container(own, name="perdure-tests") as container:
        await register_search_attributes(container.temporal)
        stack = await Stack.create(container)
        await stack.deploy(project(action=CALLS_OUT))
        connection = await stack.connect(source.url)
        action = await stack.start_action(connection, f"{source.url}/issues")
        try:
            async with perdure_process("worker", own, tmp_path / "first.log") as worker:
                assert await asyncio.to_thread(asked[0].wait, 30)
                for _ in range(signals):
                    worker.signal()
                    await worker.says("worker_stopping")
                assert await worker.ended(seconds) == code
            go_on.set()  # for nobody: whoever asked is gone
            async with perdure_process("worker", own, tmp_path / "second.log") as worker:
                assert (await asyncio.wait_for(action.result(), 40))["output"] == 200
                assert asked[1].is_set()
        finally:
            go_on.set()
