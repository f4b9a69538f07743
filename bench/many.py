"""Thousands of connections with an hourly sync each, on the embedded servers: `make bench-many`.

They are made as an application makes them, through the API, a few at a time; each runs its sync at
once. With `--directly` some get their rows and schedules without that, which is sooner done.
Then nothing is done but watch, minute by minute: what each process takes, how late runs start, and
at the end how long the pages of the API take that list it all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from temporalio.client import (
    Client,
    CreateScheduleInput,
    Interceptor,
    OutboundInterceptor,
    ScheduleHandle,
)

from activities.sync_schedules import SyncSchedules, sync_input
from bench.engine import Engine, running_engine
from bench.programs import ROOT, running
from config.intervals import parse_runs
from perdure.app.dev.folder import data_folder
from perdure.clock import utcnow
from perdure.crypto.keyring import KeyRing
from perdure.db.database import Database
from perdure.temporal.converter import data_converter
from perdure.temporal.names import WorkflowType
from perdure.temporal.plugin import PerdurePlugin

_PROJECT = ROOT / "bench" / "many_project"
_PROCESSES = ("api", "worker", "temporal", "postgres")
_LOOK_EVERY = 2.0
_TIMES = 5
_LONG_MS = 2000.0
_STATUS = "/sync/status?provider_config_key=github&syncs=issues"
_PAGES = (
    "/connections",
    "/connections?limit=100",
    "/connections?limit=100&page=50",
    "/connections?search=customer-00042",
    "/runs?limit=100",
    "/runs?kind=sync&connection_id=customer-00007",
    f"{_STATUS}&connection_id=customer-00007",
    _STATUS,
)
"""What lists connections, runs and syncs; the last one asks Temporal for every schedule."""
_SCHEDULES_AT_ONCE = 8
_WINDOW_S = 60.0

# Connections whose first run has ended.
_SETTLED = """
SELECT count(DISTINCT connection_key) FROM runs
 WHERE kind = 'sync' AND status <> 'running'
"""
_FAILED = "SELECT count(*) FROM runs WHERE status NOT IN ('running', 'success')"


async def _create(engine: Engine, url: str, count: int, at_once: int) -> dict[str, Any]:
    """Make connections, and wait until the first run of each has ended."""
    limit = asyncio.Semaphore(at_once)
    answered: list[float] = []

    async def one(number: int) -> None:
        async with limit:
            began = time.monotonic()
            await engine.connect(f"customer-{number:05}", url)
            answered.append(time.monotonic() - began)

    before, began = engine.cpu(), time.monotonic()
    making = asyncio.gather(*map(one, range(count)))
    made_after: float | None = None
    settled = 0
    while settled < count:
        await asyncio.sleep(_LOOK_EVERY)
        settled = await engine.db.fetchval(_SETTLED)
        if making.done() and made_after is None:
            await making
            made_after = time.monotonic() - began
        print(
            f"{time.monotonic() - began:7.0f} s: {len(answered)} made, {settled} synced", flush=True
        )
    await making
    wall = time.monotonic() - began
    return {
        "connections": count,
        "at_once": at_once,
        "made_s": round(made_after or wall, 1),
        "first_runs_ended_s": round(wall, 1),
        "answer_ms": _spread(1000 * value for value in answered),
        "cpu_ms_a_connection": _cpu_since(engine, before, count),
        "failed_runs": await engine.db.fetchval(_FAILED),
        "memory_mb": _memory(engine),
    }


class _Untriggered(Interceptor):
    """Makes schedules whose first run is not at once."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _UntriggeredCalls(next)


class _UntriggeredCalls(OutboundInterceptor):
    async def create_schedule(self, input: CreateScheduleInput) -> ScheduleHandle:
        return await super().create_schedule(replace(input, trigger_immediately=False))


async def _add_directly(engine: Engine, folder: Path, url: str, numbers: range) -> dict[str, Any]:
    """Make connections that are as the API's, but for their first runs."""
    client = await Client.connect(
        engine.dev.temporal_address,
        namespace=engine.dev.temporal_namespace,
        plugins=[PerdurePlugin(data_converter(None, None))],
        interceptors=[_Untriggered()],
    )
    schedules = SyncSchedules(client)
    key = data_folder(folder / "data").secrets().encryption_keys.get_secret_value()
    before, began = engine.cpu(), time.monotonic()
    async with Database.open(
        engine.dev.database_url, keyring=KeyRing.parse(key), pool_size=4, application_name="bench"
    ) as database:
        environment = await database.environments.by_name("dev")
        limit = asyncio.Semaphore(_SCHEDULES_AT_ONCE)

        async def one(number: int) -> None:
            async with limit:
                connection, _ = await database.connections.save(
                    environment.id,
                    "github",
                    f"customer-{number:05}",
                    {"type": "API_KEY", "apiKey": "key-of-the-benchmark"},
                    connection_config={"baseUrl": url},
                )
                await database.syncs.ensure_all([(connection.key, "issues")])
                (row,) = await database.syncs.of_connections([connection.key])
                target = sync_input(environment.name, row)
                await schedules.ensure(target, parse_runs("every hour"), auto_start=True)

        await asyncio.gather(*map(one, numbers))
    wall = time.monotonic() - began
    return {
        "schedules": len(numbers),
        "at_once": _SCHEDULES_AT_ONCE,
        "seconds": round(wall, 1),
        "cpu_ms_a_schedule": _cpu_since(engine, before, max(1, len(numbers))),
        "memory_mb": _memory(engine),
    }


async def _watch(engine: Engine, seconds: float) -> None:
    """Say what goes on when nobody asks for anything, a window after the other.

    What many schedules that were made together have caused keeps the server busy for minutes: how
    the windows differ shows when it has come to an end, and the last ones how things are then.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        print(json.dumps({"watched": await _window(engine)}), flush=True)


async def _window(engine: Engine) -> dict[str, Any]:
    since, before = utcnow(), engine.cpu()
    await asyncio.sleep(_WINDOW_S)
    until = utcnow()
    took = (until - since).total_seconds()
    shares = {name: value / took for name, value in _used(engine, before).items()}
    # What is listed is written a moment after it happens.
    await asyncio.sleep(_LOOK_EVERY)
    lags = await _lags(engine, since, until)
    return {
        "seconds": round(took),
        "runs": len(lags),
        "runs_a_second": round(len(lags) / took, 2),
        "cores": {name: round(share, 3) for name, share in shares.items()},
        "cpu_ms_a_run": {
            name: round(1000 * share * took / max(1, len(lags)), 1)
            for name, share in shares.items()
        },
        "lag_ms": _spread(lags),
        "memory_mb": _memory(engine),
    }


async def _lags(engine: Engine, since: datetime, until: datetime) -> list[float]:
    """Return how many milliseconds after their time the runs of a while were started."""
    query = (
        f"WorkflowType = '{WorkflowType.SYNC}' AND StartTime >= '{since.isoformat()}'"
        f" AND StartTime < '{until.isoformat()}' AND TemporalScheduledById IS NOT NULL"
    )
    lags = []
    async for run in engine.temporal.list_workflows(query, page_size=1000):
        due = next(
            datetime.fromisoformat(str(pair.value))
            for pair in run.typed_search_attributes
            if pair.key.name == "TemporalScheduledStartTime"
        )
        lags.append((run.start_time - due) / timedelta(milliseconds=1))
    return lags


async def _page(engine: Engine, path: str) -> dict[str, Any]:
    """Time an answer of the API, several times where it is quick."""
    times: list[float] = []
    found: dict[str, Any] = {}
    while len(times) < _TIMES and sum(times) < _LONG_MS:
        began = time.monotonic()
        answer = await engine.get(path)
        times.append(1000 * (time.monotonic() - began))
        found = {"status": answer.status_code, "bytes": len(answer.content)}
    return {**found, "median_ms": round(statistics.median(times), 1)}


def _used(engine: Engine, before: dict[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in engine.cpu().items()}


def _cpu_since(engine: Engine, before: dict[str, float], count: int) -> dict[str, float]:
    return {name: round(1000 * value / count, 1) for name, value in _used(engine, before).items()}


def _memory(engine: Engine) -> dict[str, int]:
    pids = engine.dev.pids.model_dump()
    return {name: psutil.Process(pids[name]).memory_info().rss >> 20 for name in _PROCESSES}


def _spread(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 1)
        for name, part in at.items()
    }


async def main() -> None:
    """Do it, and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--directly", type=int, default=0, help="how many of them are not made so")
    parser.add_argument("--watch", type=float, default=900.0, help="seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-many-") as folder:
        async with (
            running_engine(Path(folder), project=_PROJECT) as engine,
            running("bench.fake_api") as (url, _),
        ):
            through_api = options.connections - options.directly
            made = await _create(engine, url, through_api, options.at_once)
            print(json.dumps({"made": made}, indent=1), flush=True)
            if options.directly:
                numbers = range(through_api, options.connections)
                added = await _add_directly(engine, Path(folder), url, numbers)
                print(json.dumps({"added": added}, indent=1), flush=True)
            await _watch(engine, options.watch)
            for path in _PAGES:
                print(json.dumps({path: await _page(engine, path)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
