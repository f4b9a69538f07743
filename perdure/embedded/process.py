"""Child processes that end with us, however we end.

Each child leads a process group of its own, is known to a `Guard` before it runs its program, and
inherits the folder lock. An orderly `stop` signals it, waits and kills; after a `kill -9` of this
process the guard does the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from perdure.errors import StartupError

__all__ = ["Guard", "Identity", "Process", "Program", "Service", "run_to_end", "tail"]

_GUARD = Path(__file__).with_name("guard.py")
_LAUNCH = Path(__file__).with_name("launch.py")
_PYTHON = (sys.executable, "-I", "-S")
_LOG_LIMIT = 10 * 1024 * 1024
"""Bytes after which a log is moved aside (one old file is kept) when its process starts."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The account a program runs under.

    Attributes:
        kind: `own`: as this process. `namespace`: root to the outside, so files stay root's, but
            the given account to the program itself (Linux, as root). `account`: the given account
            (as root).
        uid: User id of the account, -1 for `own`.
        gid: Group id of the account, -1 for `own`.
    """

    kind: Literal["own", "namespace", "account"] = "own"
    uid: int = -1
    gid: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to run.

    Attributes:
        name: Name for people and of the log.
        command: Program and arguments; never a secret, everybody may read them.
        environment: The whole environment of the program.
        log: File that output and errors are appended to.
        signals: What asks it to end, then less patiently; SIGKILL follows by itself.
        patience: Seconds each of the signals may take.
        identity: The account it runs under.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    patience: float = 5.0
    identity: Identity = field(default_factory=Identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Program):
    """A program that is to run all the time, and how to know that it works.

    Attributes:
        probe: Says whether it answers; called again and again, never raises for a "not yet".
        before: Called before each start.
    """

    probe: Callable[[], Awaitable[bool]]
    before: Callable[[], None] = lambda: None


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented for people; empty when there is none."""
    with contextlib.suppress(OSError), log.open(encoding="utf-8", errors="replace") as file:
        return "".join(f"  {line.rstrip()}\n" for line in deque(file, maxlen=lines)).rstrip("\n")
    return ""


class Guard:
    """A tiny process that ends our children when we are gone.

    Use as an async context manager around everything that starts a `Process`.

    Attributes:
        pipe: Write end of the pipe whose end of file tells the guard that we are gone.
        lock: Descriptor of the folder lock that guard and children inherit, None without a folder.
    """

    def __init__(self, lock: int | None = None) -> None:
        self.lock = lock
        self._read_end, self.pipe = os.pipe()
        self._known: dict[int | Path, str] = {}

    async def __aenter__(self) -> Self:
        self._process = await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        os.close(self.pipe)
        os.close(self._read_end)
        await self._process.wait()

    def know(self, pid: int, signals: tuple[signal.Signals, ...]) -> None:
        """Remember a child that made itself known to the guard, in case the guard is killed."""
        self._known[pid] = f"+{pid} {' '.join(str(int(number)) for number in signals)}\n"

    def forget(self, pid: int) -> None:
        """Tell the guard that a child has ended."""
        self._known.pop(pid, None)
        self._tell(f"-{pid}\n")

    def remove_at_end(self, folder: Path) -> None:
        """Have a folder removed if we cannot do it ourselves."""
        self._known[folder] = f"~{folder}\n"
        self._tell(self._known[folder])

    async def keep(self) -> None:
        """Start the guard again whenever it ends before us; runs until cancelled."""
        while True:
            await self._process.wait()
            self._process = await self._start()
            for line in self._known.values():
                self._tell(line)

    async def _start(self) -> asyncio.subprocess.Process:
        lock = -1 if self.lock is None else self.lock
        return await asyncio.create_subprocess_exec(
            *(*_PYTHON, str(_GUARD), str(lock)),
            stdin=self._read_end,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
            pass_fds=() if self.lock is None else (self.lock,),
        )

    def _tell(self, line: str) -> None:
        os.write(self.pipe, line.encode())


class Process:
    """One run of a program."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, guard: Guard) -> None:
        self._program = program
        self._process = process
        self._guard = guard
        self._gone = False

    @classmethod
    async def start(cls, program: Program, guard: Guard) -> Process:
        """Start the program; its log is moved aside first when it has grown too large.

        Must be called from a thread that lives as long as the child shall: Linux ends the child
        with the thread that started it.
        """
        terms = {
            "guard": guard.pipe,
            "parent": os.getpid(),
            "signals": [int(number) for number in program.signals],
            "identity": {
                "kind": program.identity.kind,
                "uid": program.identity.uid,
                "gid": program.identity.gid,
            },
        }
        log = _open_log(program.log)
        try:
            process = await asyncio.create_subprocess_exec(
                *(*_PYTHON, str(_LAUNCH), json.dumps(terms), *program.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                start_new_session=True,
                pass_fds=(guard.pipe,) if guard.lock is None else (guard.pipe, guard.lock),
            )
        finally:
            os.close(log)
        guard.know(process.pid, program.signals)
        return cls(program, process, guard)

    @property
    def pid(self) -> int:
        """Process id, which is the id of its group too."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end and return the exit code, negative for a signal.

        What it left behind in its group ends with it.
        """
        code = await self._process.wait()
        if not self._gone:
            self._gone = True
            self.signal(signal.SIGKILL)
            self._guard.forget(self.pid)
        return code

    async def until_ready(
        self, probe: Callable[[], Awaitable[bool]], patience: float = 60.0
    ) -> None:
        """Wait until the program answers.

        Args:
            probe: The probe of its service.
            patience: Seconds to wait at most.

        Raises:
            StartupError: It ended, or did not answer in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + patience
        while True:
            if self._process.returncode is not None:
                raise self._not_started(f"ended with exit code {self._process.returncode}")
            if await probe():
                return
            if time.monotonic() > deadline:
                raise self._not_started(f"did not answer within {patience:g} seconds")
            await asyncio.sleep(0.03)

    async def stop(self) -> None:
        """End the program: by its signals one after the other, at last by SIGKILL."""
        for number in self._program.signals:
            if self._process.returncode is not None:
                break
            self.signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._program.patience):
                    await self._process.wait()
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)
        await self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and all of its group, if there is any left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _not_started(self, what: str) -> StartupError:
        message = f"{self._program.name} {what}; the last lines of {self._program.log}:"
        return StartupError(f"{message}\n{tail(self._program.log)}")


async def run_to_end(program: Program, guard: Guard, *, patience: float = 120.0) -> int:
    """Run a program that ends by itself and return its exit code.

    Args:
        program: What to run.
        guard: Ends it when we die.
        patience: Seconds after which it is stopped.

    Raises:
        StartupError: It took too long.
    """
    process = await Process.start(program, guard)
    try:
        async with asyncio.timeout(patience):
            return await process.wait()
    except TimeoutError as error:
        message = f"{program.name} did not end within {patience:g} seconds, see {program.log}"
        raise StartupError(message) from error
    finally:
        await process.stop()


def _open_log(log: Path) -> int:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
