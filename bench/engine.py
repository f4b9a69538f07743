"""Perdure as its users run it: `perdure dev` with its own processes, spoken to over HTTP.

Around it only what a measurement needs: the processes' CPU time, the histories' size, and the
tables emptied between runs, so that a round does not pay for the one before.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from temporalio.client import Client, WorkflowFailureError

from bench.bare import BARE_TABLE
from bench.programs import ROOT, ProgramError, end
from bench.usage import Memory, cpu_seconds, watched_memory
from perdure.app.dev import DevFile, read_dev_file

__all__ = ["Digest", "Engine", "SyncRun", "running_engine"]

_PROJECT = ROOT / "bench" / "project"
_UP_SECONDS = 150.0
_LOOK_EVERY = 0.05

# The content by its hashes: the same for everybody who wrote the same records.
_DIGEST_OF_CONNECTION = """
SELECT count(*), sum(hashtextextended(r.external_id || encode(r.payload_hash, 'hex'), 0)::numeric)
  FROM public.records r
  JOIN public.connections c ON c.id = r.connection_key
 WHERE c.connection_id = $1
"""
_DIGEST_OF_BARE = """
SELECT count(*), sum(hashtextextended(r.external_id || encode(r.payload_hash, 'hex'), 0)::numeric)
  FROM bench.records r
 WHERE r.connection_key = $1
"""
_EMPTY = "TRUNCATE public.records, public.record_counts, public.seen_records, bench.records"
_CHECKPOINT = "CHECKPOINT"

Digest = tuple[int, int]
"""How many records there are, and the sum of their hashes."""


@dataclass(frozen=True, slots=True)
class SyncRun:
    """A run of a sync.

    Attributes:
        seconds: From the start of its workflow to its end, as Temporal has them.
        events: Of its history.
        history_bytes: Size of its history.
        memory: Of the worker meanwhile.
    """

    seconds: float
    events: int
    history_bytes: int
    memory: Memory


class Engine:
    """A running stack with the benchmark's project."""

    def __init__(
        self, dev: DevFile, http: httpx.AsyncClient, temporal: Client, db: asyncpg.Connection[Any]
    ) -> None:
        self.dev = dev
        self.temporal = temporal
        self.db = db
        self._http = http

    @property
    def secret_key(self) -> str:
        return self.dev.secret_key.get_secret_value()

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds of each process so far."""
        pids = self.dev.pids.model_dump()
        return {name: cpu_seconds(pids[name]) for name in ("api", "worker", "temporal", "postgres")}

    async def prepare(self, project: Path) -> None:
        """Deploy a project and make the bare loop's table."""
        files = {
            str(path.relative_to(project)): path.read_text()
            for path in sorted(project.rglob("*"))
            if path.suffix in {".py", ".yaml"}
        }
        await self._call("POST", "/deployments", {"files": files})
        integration = {"provider": "generic-api-key", "unique_key": "github"}
        await self._call("POST", "/integrations", integration)
        await self.db.execute(BARE_TABLE)

    async def get(self, path: str) -> httpx.Response:
        """Ask the API, whatever it answers."""
        return await self._http.get(path)

    async def connect(self, connection_id: str, url: str, **metadata: int) -> None:
        """Make a connection to the API; what its syncs read is in its metadata."""
        await self._call(
            "POST",
            "/connections",
            {
                "provider_config_key": "github",
                "connection_id": connection_id,
                "connection_config": {"baseUrl": url},
                "credentials": {"type": "API_KEY", "api_key": "key-of-the-benchmark"},
                "metadata": metadata,
            },
        )

    async def trigger(self, sync: str, connection_id: str) -> None:
        """Have a sync run now."""
        target = {
            "syncs": [sync],
            "provider_config_key": "github",
            "connection_id": connection_id,
        }
        await self._call("POST", "/sync/trigger", target)

    async def run(self, sync: str, connection_id: str) -> SyncRun:
        """Run a sync to its end.

        Raises:
            ProgramError: It failed.
        """
        known = {run["id"] for run in await self._runs(connection_id)}
        async with watched_memory(self.dev.pids.worker) as memory:
            await self.trigger(sync, connection_id)
            run = await self._new_run(connection_id, known)
            handle = self.temporal.get_workflow_handle(run["workflow_id"], run_id=run["id"])
            try:
                await handle.result()
            except WorkflowFailureError as error:
                raise ProgramError(f"{sync} failed: {error.cause}") from error
        execution = await handle.describe()
        info = execution.raw_description.workflow_execution_info
        assert execution.close_time is not None
        return SyncRun(
            seconds=(execution.close_time - execution.start_time).total_seconds(),
            events=info.history_length,
            history_bytes=info.history_size_bytes,
            memory=memory,
        )

    async def digest(self, connection_id: str) -> Digest:
        """Return what the engine saved for a connection."""
        row = await self.db.fetchrow(_DIGEST_OF_CONNECTION, connection_id)
        assert row is not None
        return row[0], int(row[1] or 0)

    async def bare_digest(self, key: int) -> Digest:
        """Return what the bare loop saved under a key."""
        row = await self.db.fetchrow(_DIGEST_OF_BARE, key)
        assert row is not None
        return row[0], int(row[1] or 0)

    async def empty(self) -> None:
        """Remove all records."""
        await self.db.execute(_EMPTY)

    async def write_out(self) -> None:
        """Have Postgres write out what it still has to, so that nobody pays for who was before."""
        await self.db.execute(_CHECKPOINT)

    async def _new_run(self, connection_id: str, known: set[str]) -> dict[str, Any]:
        async with asyncio.timeout(_UP_SECONDS):
            while True:
                for run in await self._runs(connection_id):
                    if run["id"] not in known:
                        return run
                await asyncio.sleep(_LOOK_EVERY)

    async def _runs(self, connection_id: str) -> list[dict[str, Any]]:
        found = await self._call("GET", f"/runs?kind=sync&connection_id={connection_id}")
        runs: list[dict[str, Any]] = found["runs"]
        return runs

    async def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = await self._http.request(method, path, json=body)
        if answer.is_error:
            raise ProgramError(f"{method} {path}: {answer.status_code}, {answer.text}")
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def running_engine(folder: Path, project: Path = _PROJECT) -> AsyncIterator[Engine]:
    """Run `perdure dev` in a folder until the context ends.

    Args:
        folder: Where it keeps everything.
        project: What is deployed; its integration is `github`.

    Raises:
        ProgramError: It did not come up.
    """
    data_dir = folder / "data"
    ports = ("--port", "0", "--temporal-port", "0", "--ui-port", "0")
    with (folder / "dev.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "perdure", "dev", "--data-dir", str(data_dir), "--no-watch"),
            *ports,
            cwd=ROOT,
            env=dict(os.environ),
            stdout=log,
            stderr=log,
        )
        try:
            give_up_at = time.monotonic() + _UP_SECONDS
            while (dev := read_dev_file(data_dir)) is None:
                if process.returncode is not None or time.monotonic() > give_up_at:
                    told = (folder / "dev.log").read_text("utf-8", "replace")
                    raise ProgramError(f"`perdure dev` did not come up:\n{told}")
                await asyncio.sleep(_LOOK_EVERY)
            async with _connected(dev) as engine:
                await engine.prepare(project)
                yield engine
        finally:
            await end(process)


@asynccontextmanager
async def _connected(dev: DevFile) -> AsyncIterator[Engine]:
    headers = {"Authorization": f"Bearer {dev.secret_key.get_secret_value()}"}
    temporal = await Client.connect(dev.temporal_address, namespace=dev.temporal_namespace)
    db: asyncpg.Connection[Any] = await asyncpg.connect(dev.database_url)
    try:
        async with httpx.AsyncClient(base_url=dev.api_url, headers=headers, timeout=60) as http:
            yield Engine(dev, http, temporal, db)
    finally:
        await db.close()
