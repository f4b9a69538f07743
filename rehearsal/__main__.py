"""`make rehearsal`: deploys anew, kills and cuts off a cluster at work, and says what came of it.

The exit code is 1 where anything was lost or done twice, or somebody got an answer that nobody may
get: a 5xx that is no 503 with a code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from perdure.embedded.process import tail
from perdure.errors import StartupError
from rehearsal.balancer import Balancer
from rehearsal.before import Before, NoHistoryError, release_before
from rehearsal.cluster import APIS, WORKERS, Cluster, running_cluster
from rehearsal.load import ACCOUNTS, ITEMS, WEBHOOK_SECRET, Load
from rehearsal.outside import Outside
from rehearsal.report import Rehearsal, show
from rehearsal.tally import Phase, Tally
from rehearsal.verdict import judge

_PROJECT = Path(__file__).parent / "project"
_STEADY_SECONDS = 8.0
_BETWEEN_SECONDS = 2.0
# Longer than any call to it is waited for.
_FROZEN_SECONDS = 12.0
_END_SECONDS = 120.0
_LEFT = "worker_stopped_where_it_stood"

console = Console(highlight=False, width=150)


async def main(folder: Path) -> bool:
    """Rehearse; returns whether everything was as it must be."""
    began = time.monotonic()
    outside, tally = Outside(ITEMS), Tally()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(outside.serving())
        before = _release_before(folder / "before")
        console.print("Starting Postgres, Temporal, two APIs and three workers ...")
        cluster = await stack.enter_async_context(running_cluster(folder, before))
        balancer = Balancer(cluster.api_urls, cluster.secret_key)
        await stack.enter_async_context(balancer.watching())
        load = Load(balancer, outside, tally)
        tally.begin("set-up")
        await _set_up(load, outside)
        async with _running(load, tally):
            await _drill(cluster, tally)
            _begin(tally, "going out")
        console.print("Looking at what came of it ...")
        checks, waited = await judge(load, outside, cluster.database_url)
        tally.end()
        surprises = {
            part.name: (part.surprises, part.last_words)
            for part in cluster.parts.values()
            if part.surprises or part.last_words
        }
        rehearsal = Rehearsal(
            phases=tally.phases,
            checks=checks,
            settled_seconds=waited,
            migrated_seconds=cluster.migrated_seconds,
            seconds=time.monotonic() - began,
            surprises=surprises,
            late_before=sum(part.late_before for part in cluster.parts.values()),
            repeated_orders=sum(n - 1 for n in outside.order_requests.values()),
            pages=outside.pages,
        )
    show(rehearsal, console)
    for name in WORKERS:
        log = (folder / "logs" / f"{name}.log").read_text("utf-8", "replace")
        if times := log.count(_LEFT):
            console.print(f"{name} ended before what it was at had ended, {times} times.")
    for name, (_, last_words) in surprises.items():
        for words in last_words:
            told = f"What the log of {name} had when it took too long:\n{words}"
            console.print(told, markup=False)
        end = tail(folder / "logs" / f"{name}.log")
        console.print(f"The end of the log of {name}:\n{end}", markup=False)
    return rehearsal.is_good


def _release_before(folder: Path) -> Before | None:
    try:
        before = release_before(folder)
    except NoHistoryError as error:
        console.print(f"No migration is rehearsed beside the release before it: {error}.")
        return None
    console.print(f"The release before is {before.commit}, which lacks {before.lacks}.")
    return before


async def _set_up(load: Load, outside: Outside) -> None:
    files = {
        str(path.relative_to(_PROJECT)): path.read_text()
        for path in sorted(_PROJECT.rglob("*"))
        if path.suffix in {".py", ".yaml"}
    }
    integration = {
        "provider": "depot",
        "unique_key": "depot",
        "forward_webhooks": True,
        "credentials": {"webhook_secret": WEBHOOK_SECRET},
    }
    hooks = {"primary_url": f"{outside.url}/hooks", "on_auth_creation": False}
    for method, path, body in (
        ("POST", "/deployments", {"files": files}),
        ("POST", "/integrations", integration),
        ("PATCH", "/environment/webhooks", hooks),
    ):
        (await load.call(method, path, json=body)).raise_for_status()
    for account in ACCOUNTS:
        connection = {
            "provider_config_key": "depot",
            "connection_id": account,
            "connection_config": {"baseUrl": outside.url},
            "credentials": {"type": "API_KEY", "api_key": f"key-of-{account}"},
            "metadata": {"account": account},
        }
        (await load.call("POST", "/connections", json=connection)).raise_for_status()


@asynccontextmanager
async def _running(load: Load, tally: Tally) -> AsyncIterator[None]:
    """Load the cluster while the context is open, and then wait for what was begun."""
    loading = asyncio.create_task(load.run())
    try:
        yield
        load.stop()
        ended, _ = await asyncio.wait({loading}, timeout=_END_SECONDS)
    finally:
        loading.cancel()
        await asyncio.wait({loading})
    if ended:
        loading.result()
    else:
        tally.now.faults.append(f"What was begun had not ended after {_END_SECONDS:.0f} s.")


def _begin(tally: Tally, name: str) -> Phase:
    console.print(f"{name} ...")
    return tally.begin(name)


async def _drill(cluster: Cluster, tally: Tally) -> None:
    begin = partial(_begin, tally)
    begin("steady")
    await asyncio.sleep(_STEADY_SECONDS)
    if cluster.before is not None:
        phase = begin("migration beside the release before")
        phase.took["migrate"] = await cluster.migrate(code=None)
        await asyncio.sleep(_BETWEEN_SECONDS)
        for name in (WORKERS[-1], APIS[-1]):
            phase = begin(f"{name} of the release before restarted on the newer schema")
            phase.took[name] = await cluster.parts[name].restart()
            await asyncio.sleep(_BETWEEN_SECONDS)
        cluster.take_new_code()
    for title, names in (("rolling restart of the workers", WORKERS), ("of the APIs", APIS)):
        phase = begin(title)
        for name in names:
            phase.took[name] = await cluster.parts[name].restart()
            await asyncio.sleep(_BETWEEN_SECONDS)
    if cluster.before is not None:
        phase = begin("a worker with the new code restarted")
        phase.took[WORKERS[0]] = await cluster.parts[WORKERS[0]].restart()
        await asyncio.sleep(_BETWEEN_SECONDS)
    for title, name in (("kill -9 of a worker", WORKERS[0]), ("kill -9 of an API", APIS[0])):
        phase = begin(title)
        phase.took[name] = await cluster.parts[name].kill()
        await asyncio.sleep(_BETWEEN_SECONDS)
    for title, name in (("restart of Postgres", "postgres"), ("restart of Temporal", "temporal")):
        phase = begin(title)
        phase.took[name] = await cluster.parts[name].restart()
        # What was cut off comes back by itself; that, too, belongs to it.
        await asyncio.sleep(3 * _BETWEEN_SECONDS)
    phase = begin(f"Temporal frozen for {_FROZEN_SECONDS:.0f} s")
    phase.took["temporal"] = await cluster.parts["temporal"].freeze(_FROZEN_SECONDS)
    await asyncio.sleep(3 * _BETWEEN_SECONDS)


def _run() -> int:
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the files of the processes there")
    given = parser.parse_args().folder
    try:
        if given is not None:
            return 0 if asyncio.run(main(given)) else 1
        with tempfile.TemporaryDirectory(prefix="perdure-rehearsal-") as folder:
            return 0 if asyncio.run(main(Path(folder))) else 1
    except StartupError as error:
        console.print(error.message, markup=False)
        return 1


if __name__ == "__main__":
    code = _run()
    sys.stdout.flush()
    # Temporal's core may still have threads; see `perdure.app.cli.main`.
    os._exit(code)
