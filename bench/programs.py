"""The processes of the benchmark: each thing that is compared is one of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.usage import Memory, watched_memory

__all__ = ["ROOT", "ProgramError", "end", "result_of", "running"]

ROOT = Path(__file__).resolve().parent.parent
"""The repository, from which the modules of the benchmark are found."""

_READY_SECONDS = 60.0
_GRACE_SECONDS = 20.0


class ProgramError(Exception):
    """A process of the benchmark did not do what it is there for."""


@asynccontextmanager
async def running(module: str, *arguments: str) -> AsyncIterator[tuple[str, Process]]:
    """Run a module until the context ends; yields the line it says when it is ready."""
    process = await _start(sys.executable, module, arguments, {})
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), _READY_SECONDS)
        if not line:
            raise ProgramError(f"{module} ended before it was ready")
        yield line.decode().strip(), process
    finally:
        await end(process)


async def result_of(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> tuple[dict[str, Any], Memory]:
    """Run a module to its end; returns the JSON object it prints last, and its memory.

    Raises:
        ProgramError: It ended with another exit code than 0.
    """
    process = await _start(python, module, arguments, environment or {})
    try:
        async with watched_memory(process.pid) as memory:
            told, _ = await process.communicate()
    finally:
        await end(process)
    if process.returncode != 0:
        raise ProgramError(f"{module} ended with exit code {process.returncode}")
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found, memory


async def end(process: Process) -> None:
    """End a process, at the latest by force."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _start(
    python: str, module: str, arguments: tuple[str, ...], environment: Mapping[str, str]
) -> Process:
    return await asyncio.create_subprocess_exec(
        *(python, "-m", module, *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=PIPE,
        stdout=PIPE,
    )
