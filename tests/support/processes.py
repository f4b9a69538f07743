"""`perdure api` and `perdure worker` as an operator starts them: processes with an environment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from config.settings import Settings
from perdure.embedded.ports import choose_ports


@dataclass
class Running:
    """A process, and where its output goes."""

    process: asyncio.subprocess.Process
    log: Path
    port: int = 0

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    async def ended(self, seconds: float = 20) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def says(self, text: str, seconds: float = 90) -> None:
        """Wait until its log holds a text."""
        async with asyncio.timeout(seconds):
            while text not in self.log.read_text():
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.02)

    async def answers(self, path: str = "/health/live", seconds: float = 90) -> None:
        """Wait until the API answers 200 at a path."""
        url = f"http://127.0.0.1:{self.port}{path}"
        async with asyncio.timeout(seconds), httpx.AsyncClient(timeout=5) as client:
            while True:
                assert self.process.returncode is None, self.log.read_text()
                try:
                    if (await client.get(url)).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)


def environment_of(settings: Settings, **changes: str) -> dict[str, str]:
    """Return the environment of a process with these settings."""
    assert settings.encryption_keys is not None
    return os.environ | {
        "PERDURE_DATABASE_URL": settings.database_url.get_secret_value(),
        "PERDURE_ENCRYPTION_KEYS": settings.encryption_keys.get_secret_value(),
        "PERDURE_ALLOW_PRIVATE_NETWORKS": "true",
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
        "PERDURE_DRAIN_SECONDS": "0",
        "PYTHONUNBUFFERED": "1",
        **changes,
    }


@asynccontextmanager
async def perdure_process(
    command: str, settings: Settings, log: Path, **changes: str
) -> AsyncIterator[Running]:
    """Run `perdure api` or `perdure worker` until the context ends; the API on a free port."""
    port = choose_ports({"x": 0})["x"]
    environment = environment_of(settings, PERDURE_PORT=str(port), **changes)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "perdure", command),
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield Running(process, log, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
