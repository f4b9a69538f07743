"""On what the benchmark ran."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.engine import Engine

__all__ = ["describe", "measured_code"]

_PACKAGES = ("asyncpg", "httpx", "orjson", "pydantic", "temporalio", "uvloop")


async def describe(engine: Engine) -> dict[str, Any]:
    """Return the machine and the versions, as they stand in `results.json`."""
    system = await engine.temporal.workflow_service.get_system_info(_request())
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgres": await engine.db.fetchval("SHOW server_version"),
        "temporal": system.server_version,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def measured_code() -> str:
    """Return the version, and the commit where this is a checkout."""
    command = ("git", "rev-parse", "--short", "HEAD")
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return version("perdure")
    return f"{version('perdure')} at {found.stdout.strip()}"


def _request() -> Any:
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

    return GetSystemInfoRequest()


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
