"""`perdure dev` as a user starts it, and its REST API as a client sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.secret_search import SecretSearch, assert_none
from tests.support.secret_texts import SECRETS

_READY_SECONDS = 120.0


@dataclass
class DevServer:
    """A running `perdure dev`."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    client: httpx.AsyncClient

    @property
    def info(self) -> dict[str, Any]:
        return json.loads((self.data_dir / "dev.json").read_text())

    async def call(
        self, method: str, path: str, *, expect: int = 200, **options: Any
    ) -> dict[str, Any]:
        answer = await self.client.request(method, path, **options)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def deploy(self, files: Mapping[str, str]) -> dict[str, Any]:
        return await self.call("POST", "/deployments", json={"files": dict(files)})

    async def connect(self, url: str, connection_id: str = "acme") -> dict[str, Any]:
        known = (await self.call("GET", "/integrations"))["data"]
        if not any(entry["unique_key"] == "tracker" for entry in known):
            body = {"provider": "generic-api-key", "unique_key": "tracker"}
            await self.call("POST", "/integrations", json=body)
        body = {
            "provider_config_key": "tracker",
            "connection_id": connection_id,
            "connection_config": {"baseUrl": url},
            "credentials": {"type": "API_KEY", "api_key": f"key-of-{connection_id}"},
        }
        return await self.call("POST", "/connections", json=body)

    async def trigger(self, connection_id: str = "acme", sync: str = "issues") -> None:
        body = {
            "syncs": [sync],
            "provider_config_key": "tracker",
            "connection_id": connection_id,
        }
        await self.call("POST", "/sync/trigger", json=body)

    async def latest_run(self, connection_id: str = "acme") -> dict[str, Any] | None:
        runs = (await self.call("GET", f"/runs?kind=sync&connection_id={connection_id}"))["runs"]
        return runs[0] if runs else None

    async def finished_run(
        self, connection_id: str = "acme", timeout: float = 90
    ) -> dict[str, Any]:
        async with asyncio.timeout(timeout):
            while True:
                run = await self.latest_run(connection_id)
                if run is not None and run["status"] != "running":
                    return run
                await asyncio.sleep(0.2)

    async def records(self, connection_id: str = "acme", model: str = "Issue") -> list[dict]:
        headers = {"Connection-Id": connection_id, "Provider-Config-Key": "tracker"}
        found: list[dict] = []
        cursor: str | None = None
        while True:
            params = {"model": model, "limit": "10000"} | ({"cursor": cursor} if cursor else {})
            page = await self.call("GET", "/records", headers=headers, params=params)
            found += page["records"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def answering(self, timeout: float = 30) -> None:
        """Wait until the API answers again."""
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await self.call("GET", "/health")
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    return

    def kill(self, name: str) -> int:
        """Kill one of the processes without warning; returns its process id."""
        pid: int = self.info["pids"][name]
        os.kill(pid, signal.SIGKILL)
        return pid


@asynccontextmanager
async def dev_server(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[DevServer]:
    """Run `perdure dev` on free ports until the context ends; `env` is added to ours.

    Raises:
        AssertionError: A secret stands in clear in its database or in a history.
    """
    data_dir = folder / "data"
    command = [sys.executable, "-m", "perdure", "dev", "--data-dir", str(data_dir), "--no-watch"]
    ports = ["--port", "0", "--temporal-port", "0", "--ui-port", "0"]
    log = (folder / "dev.log").open("ab")
    (data_dir / "dev.json").unlink(missing_ok=True)
    process = subprocess.Popen(
        [*command, *ports, *arguments], stdout=log, stderr=log, env={**os.environ, **(env or {})}
    )
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not (data_dir / "dev.json").exists():
                assert process.poll() is None, (folder / "dev.log").read_text()
                await asyncio.sleep(0.1)
        info = json.loads((data_dir / "dev.json").read_text())
        secret_key = SECRETS.learn(info["secret_key"], "key of a dev stack")
        headers = {"Authorization": f"Bearer {secret_key}"}
        async with httpx.AsyncClient(
            base_url=info["api_url"], headers=headers, timeout=60
        ) as client:
            yield DevServer(process, data_dir, client)
        if process.poll() is None:
            info = json.loads((data_dir / "dev.json").read_text())
            search = SecretSearch(SECRETS)
            assert_none(await search.in_database(info["database_url"]))
            assert_none(await search.in_temporal(info["temporal_address"]))
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 30)
        finally:
            process.kill()
            log.close()
