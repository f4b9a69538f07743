"""Measures what each setting of the embedded Temporal is worth: `make bench-server`.

Each variant is the server as `perdure dev` starts it, with one thing left out or added. All of them
do the same work, round by round, so that a machine that is busy for a while is busy for all. What a
step takes is told beside the processor time of the server: the latter is the steadier figure.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import psutil
from temporalio import activity, workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
)
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from perdure.embedded.ports import choose_ports
from perdure.embedded.process import Guard, Process
from perdure.embedded.temporal import NAMESPACE, temporal_server

_EAGER = "eager"
# An activity that another worker takes goes the way through the task queue.
_NOT_EAGER = "not-eager"
_STEPS = 25
_RUNS = 80
_AT_ONCE = 20
_SCHEDULES = 50
_SCHEDULES_AT_ONCE = 8


@activity.defn
async def nothing() -> None:
    """The least an activity can do."""


@workflow.defn
class Steps:
    @workflow.run
    async def run(self, count: int) -> None:
        for _ in range(count):
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=30))


@dataclass(frozen=True)
class Variant:
    """A server that differs in one thing.

    Attributes:
        name: What is different.
        without: Names of settings that are left out.
        extra: Arguments that are added.
        environment: Variables that are added.
        in_memory: Whether it has no file.
    """

    name: str
    without: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    in_memory: bool = False


def _dynamic(*settings: str) -> tuple[str, ...]:
    return tuple(part for one in settings for part in ("--dynamic-config-value", one))


def _pragma(*settings: str) -> tuple[str, ...]:
    return tuple(part for one in settings for part in ("--sqlite-pragma", one))


_PARTITIONS = ("matching.numTaskqueueReadPartitions", "matching.numTaskqueueWritePartitions")
_FAIRNESS = ("matching.useNewMatcher", "matching.enableFairness")
_RPS = "history.{}ProcessorMaxPollRPS"

VARIANTS = [
    Variant("as perdure dev starts it"),
    Variant(
        "no setting of ours",
        without=(
            *(_RPS.format(queue) for queue in ("transfer", "timer", "visibility", "outbound")),
            "system.forceSearchAttributesCacheRefreshOnRead",
            *("journal_mode", "synchronous", "cache_size", "temp_store"),
            *_PARTITIONS,
            *_FAIRNESS,
        ),
    ),
    *(
        Variant(f"without {_RPS.format(queue)}", without=(_RPS.format(queue),))
        for queue in ("transfer", "timer", "visibility", "outbound")
    ),
    Variant("without journal_mode=WAL", without=("journal_mode",)),
    Variant("without synchronous=NORMAL", without=("synchronous",)),
    Variant("synchronous=OFF", without=("synchronous",), extra=_pragma("synchronous=OFF")),
    Variant("without cache_size=64 MB", without=("cache_size",)),
    Variant("without temp_store=MEMORY", without=("temp_store",)),
    Variant("mmap_size=256 MB", extra=_pragma("mmap_size=268435456")),
    Variant("in memory", in_memory=True),
    Variant(
        "search attributes not read anew each time",
        without=("system.forceSearchAttributesCacheRefreshOnRead",),
    ),
    Variant("4 partitions a task queue", without=_PARTITIONS),
    Variant("without fairness", without=_FAIRNESS),
    Variant("GOGC=400", environment={"GOGC": "400"}),
    Variant(
        "CHASM schedules",
        extra=_dynamic(
            "history.enableChasm=true",
            "history.enableCHASMSchedulerCreation=true",
            "history.enableCHASMSchedulerRouting=true",
            "history.chasmSchedulerCreationRolloutPercent=100",
            "history.enableCHASMCallbacks=true",
            'frontend.allowedExperiments=["chasm-scheduler"]',
        ),
    ),
]


@dataclass
class Figures:
    """What was measured of a variant, a value for each round."""

    step: list[float] = field(default_factory=list)
    step_cpu: list[float] = field(default_factory=list)
    eager_step: list[float] = field(default_factory=list)
    run_cpu: list[float] = field(default_factory=list)
    runs_a_second: list[float] = field(default_factory=list)
    schedule: list[float] = field(default_factory=list)
    schedule_cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


@asynccontextmanager
async def _server(variant: Variant, folder: Path) -> AsyncIterator[tuple[str, psutil.Process]]:
    """Run a server; yields its address and its process."""
    port = choose_ports({"port": 0})["port"]
    temporal = temporal_server(
        folder,
        port=port,
        ui_port=None,
        db_filename=None if variant.in_memory else folder / "temporal.db",
    )
    service = replace(
        temporal.service,
        command=_without(temporal.service.command, variant.without) + variant.extra,
        environment={**temporal.service.environment, **variant.environment},
    )
    async with Guard() as guard:
        process = await Process.start(service, guard)
        try:
            await process.until_ready(service.probe)
            yield temporal.address, psutil.Process(process.pid)
        finally:
            await process.stop()


def _without(command: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out settings, which are pairs of an option and `name=value`."""
    kept: list[str] = []
    for part in command:
        if part.partition("=")[0] in names:
            kept.pop()
        else:
            kept.append(part)
    return tuple(kept)


async def _measure(variant: Variant, figures: Figures) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with _server(variant, Path(folder)) as (address, server):
            client = await Client.connect(address, namespace=NAMESPACE)
            async with _worker(client, _EAGER), _worker(client, _NOT_EAGER):
                await _work(client, server, figures)
            figures.memory.append(server.memory_info().rss / 2**20)


def _worker(client: Client, queue: str) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=[Steps],
        activities=[nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
        disable_eager_activity_execution=queue == _NOT_EAGER,
    )


async def _work(client: Client, server: psutil.Process, figures: Figures) -> None:
    async def run(count: int, queue: str) -> None:
        await client.execute_workflow(Steps.run, count, id=str(uuid.uuid4()), task_queue=queue)

    async def schedule() -> None:
        name = str(uuid.uuid4())
        await client.create_schedule(
            name,
            Schedule(
                action=ScheduleActionStartWorkflow(Steps.run, 1, id=name, task_queue=_EAGER),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(hours=24))]),
            ),
        )

    await _at_once([lambda: run(5, _NOT_EAGER)] * 8, 8)
    wall, cpu = await _timed(server, lambda: run(_STEPS, _NOT_EAGER))
    figures.step.append(1000 * wall / _STEPS)
    figures.step_cpu.append(1000 * cpu / _STEPS)
    wall, _ = await _timed(server, lambda: run(_STEPS, _EAGER))
    figures.eager_step.append(1000 * wall / _STEPS)
    many = [lambda: run(1, _EAGER)] * _RUNS
    wall, cpu = await _timed(server, lambda: _at_once(many, _AT_ONCE))
    figures.runs_a_second.append(_RUNS / wall)
    figures.run_cpu.append(1000 * cpu / _RUNS)
    schedules = [schedule] * _SCHEDULES
    wall, cpu = await _timed(server, lambda: _at_once(schedules, _SCHEDULES_AT_ONCE))
    figures.schedule.append(1000 * wall / _SCHEDULES)
    figures.schedule_cpu.append(1000 * cpu / _SCHEDULES)


async def _timed(
    server: psutil.Process, work: Callable[[], Awaitable[None]]
) -> tuple[float, float]:
    """Return seconds and processor seconds of the server."""
    cpu, began = _cpu(server), time.monotonic()
    await work()
    return time.monotonic() - began, _cpu(server) - cpu


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def _at_once(calls: Sequence[Callable[[], Awaitable[None]]], limit: int) -> None:
    places = asyncio.Semaphore(limit)

    async def one(call: Callable[[], Awaitable[None]]) -> None:
        async with places:
            await call()

    await asyncio.gather(*map(one, calls))


def _table(results: dict[str, Figures]) -> str:
    head = (
        "| server | step, ms | its CPU, ms | eager step, ms | run of one step, CPU ms | runs/s "
        "| schedule made, ms | its CPU, ms | memory, MB |"
    )
    lines = [head, "| --- |" + " ---: |" * 8]
    for name, found in results.items():
        values = (
            found.step,
            found.step_cpu,
            found.eager_step,
            found.run_cpu,
            found.runs_a_second,
            found.schedule,
            found.schedule_cpu,
            found.memory,
        )
        cells = " | ".join(f"{statistics.median(value):.1f}" for value in values)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the variants' names")
    options = parser.parse_args()
    variants = [
        v for v in VARIANTS if any(part in v.name for part in ("as perdure", *options.only))
    ]
    results = {variant.name: Figures() for variant in variants}
    for number in range(options.rounds):
        for variant in variants:
            await _measure(variant, results[variant.name])
        print(f"round {number + 1} of {options.rounds}", flush=True)
    print(_table(results))


if __name__ == "__main__":
    asyncio.run(main())
