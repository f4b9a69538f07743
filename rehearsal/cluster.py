"""The topology of a cluster out of processes: one Postgres, one Temporal, two APIs, three workers.

Each process is started again when it ends, as a container with a restart policy is, and asked by
its probe whether it is ready. Nothing of it knows anything of the others but their addresses.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from perdure.app.sign_of_life import is_alive
from perdure.crypto.keyring import new_key
from perdure.embedded.lock import lock_folder
from perdure.embedded.ports import LOOPBACK, choose_ports
from perdure.embedded.postgres import open_cluster
from perdure.embedded.process import Guard, Process, Program, Service, run_to_end, tail
from perdure.embedded.temporal import temporal_server
from perdure.errors import StartupError
from rehearsal.before import Before

__all__ = ["APIS", "WORKERS", "Cluster", "Part", "running_cluster"]

APIS = ("api-1", "api-2")
WORKERS = ("worker-1", "worker-2", "worker-3")

_FOLDER = Path(__file__).parent
# What docker-compose.yml gives an API before it is killed.
_GRACE_SECONDS = 20.0
_LAST_WORDS_SECONDS = 2.0
_LAST_WORDS_LINES = 150
_RESTART_SECONDS = 0.2
_READY_SECONDS = 90.0


class Part:
    """A process that is there all the time.

    Attributes:
        name: As in the table.
        surprises: Exit codes of ends that nobody asked for.
        last_words: What its log ended with each time that it had to be killed, because it did not
            end in time.
        late_before: How often that happened to the release before, at which nothing can be mended.

    Args:
        service: What is run.
        guard: Ends it when we are gone.
        before: Variables of its environment that have it run the code of the release before.
    """

    _process: Process
    """The present one; there is one once it has started."""
    _keeping: asyncio.Task[None]

    def __init__(self, service: Service, guard: Guard, before: Collection[str] = ()) -> None:
        self.name = service.name
        self.surprises: list[int] = []
        self.last_words: list[str] = []
        self.late_before = 0
        self._before = frozenset(before)
        self._runs_before = False
        self._service = service
        self._guard = guard
        self._expected = False
        self._started = asyncio.Event()

    @asynccontextmanager
    async def kept(self, patience: float = _READY_SECONDS) -> AsyncIterator[None]:
        """Run it until the context ends.

        Args:
            patience: Seconds that it may take until it is ready.

        Raises:
            StartupError: As `until_ready`.
        """
        self._keeping = asyncio.create_task(self._keep())
        try:
            await self.until_ready(patience)
            yield
        finally:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            if hasattr(self, "_process"):
                await self._process.stop()

    async def until_ready(self, patience: float = _READY_SECONDS) -> None:
        """Wait until it runs and its probe says so.

        Where it ends before, it is started again, as a container is, and has surprised.

        Args:
            patience: Seconds that it may take.

        Raises:
            StartupError: It did not come up; the message holds the end of its log.
        """
        give_up_at = time.monotonic() + patience
        while True:
            await self._until_started(give_up_at - time.monotonic())
            try:
                await self._process.until_ready(self._service.probe, give_up_at - time.monotonic())
            except StartupError as error:
                if time.monotonic() >= give_up_at:
                    raise self._not_up(f"was not ready within {patience:g} s") from error
            else:
                return
            await asyncio.sleep(_RESTART_SECONDS)

    async def _until_started(self, patience: float) -> None:
        starting = asyncio.create_task(self._started.wait())
        await asyncio.wait(
            {starting, self._keeping}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        starting.cancel()
        if self._started.is_set():
            return
        if self._keeping.done():
            cause = self._keeping.exception()
            raise self._not_up(f"could not be started: {cause!r}") from cause
        raise self._not_up("did not begin in time")

    def _not_up(self, why: str) -> StartupError:
        log = self._service.log
        return StartupError(f"{self.name} {why}; the last lines of {log}:\n{tail(log)}")

    def take_new_code(self) -> None:
        """Have it run the code of this checkout from its next start on."""
        kept = {k: v for k, v in self._service.environment.items() if k not in self._before}
        self._service = replace(self._service, environment=kept)

    async def restart(self) -> float:
        """End it in good order; returns the seconds until it was ready again."""
        began, of_before = time.monotonic(), self._runs_before
        self._end(self._service.signals[0])
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._started.wait()
        except TimeoutError:
            # A Python says in its log where its threads stand, and ends.
            self._process.signal(signal.SIGABRT)
            await asyncio.sleep(_LAST_WORDS_SECONDS)
            if of_before:
                self.late_before += 1
            else:
                self.last_words.append(tail(self._service.log, _LAST_WORDS_LINES))
            if not self._started.is_set():
                self._process.signal(signal.SIGKILL)
        await self.until_ready()
        return time.monotonic() - began

    async def kill(self) -> float:
        """Kill it without warning; returns the seconds until it was ready again."""
        began = time.monotonic()
        self._end(signal.SIGKILL)
        await self.until_ready()
        return time.monotonic() - began

    async def freeze(self, seconds: float) -> float:
        """Stop its clock for a while, as behind a network that swallows everything.

        Returns:
            Seconds until it was ready again, after it goes on.
        """
        self._process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._process.signal(signal.SIGCONT)
        began = time.monotonic()
        await self.until_ready()
        return time.monotonic() - began

    def _end(self, number: signal.Signals) -> None:
        self._started.clear()
        self._expected = True
        self._process.signal(number)

    async def _keep(self) -> None:
        while True:
            self._service.before()
            self._runs_before = not self._before.isdisjoint(self._service.environment)
            self._process = await Process.start(self._service, self._guard)
            self._started.set()
            code = await self._process.wait()
            self._started.clear()
            if not self._expected:
                self.surprises.append(code)
            self._expected = False
            await asyncio.sleep(_RESTART_SECONDS)


@dataclass(kw_only=True)
class Cluster:
    """What runs.

    Attributes:
        api_urls: By the names of the APIs.
        secret_key: Of the environment `dev`.
        database_url: Of Perdure's database.
        before: The release whose code it began with, None for that of this checkout.
        parts: All processes by name.
        migrated_seconds: How long `perdure migrate` took on an empty database.
    """

    api_urls: dict[str, str]
    secret_key: str
    database_url: str
    before: Before | None
    parts: dict[str, Part] = field(default_factory=dict)
    migrated_seconds: float = 0.0
    _environment: dict[str, str]
    _guard: Guard
    _folder: Path

    async def migrate(self, *, code: Before | None) -> float:
        """Do what `perdure migrate` of a release does; returns how many seconds it took.

        Raises:
            StartupError: It failed; the message holds the end of its log.
        """
        began = time.monotonic()
        program = Program(
            name="migrate",
            command=_command("migrate"),
            environment=self._environment | dict(code.environment if code else {}),
            log=self._folder / "logs" / "migrate.log",
        )
        if (exit_code := await run_to_end(program, self._guard)) != 0:
            msg = f"`perdure migrate` ended with {exit_code}:\n{tail(program.log)}"
            raise StartupError(msg)
        return time.monotonic() - began

    def take_new_code(self) -> None:
        """Have every API and worker run the code of this checkout from its next start on."""
        for name in (*APIS, *WORKERS):
            self.parts[name].take_new_code()


@asynccontextmanager
async def running_cluster(folder: Path, before: Before | None) -> AsyncIterator[Cluster]:
    """Run the cluster until the context ends.

    Args:
        folder: For all its files; the logs of the processes are in `logs` below it.
        before: The release to begin with, None for the code of this checkout.

    Raises:
        StartupError: Something does not start.
    """
    ports = choose_ports({**dict.fromkeys(APIS, 0), "temporal": 0})
    temporal = temporal_server(
        folder, port=ports["temporal"], ui_port=None, db_filename=folder / "temporal.db"
    )
    async with AsyncExitStack() as stack:
        lock = await stack.enter_async_context(lock_folder(folder))
        guard = await stack.enter_async_context(Guard(lock.fd))
        postgres = await stack.enter_async_context(open_cluster(folder, guard))
        secret_key = str(uuid.uuid4())
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PERDURE_DATABASE_URL": postgres.database_url,
            "PERDURE_ENCRYPTION_KEYS": new_key(),
            "PERDURE_SECRET_KEY": secret_key,
            "PERDURE_PROVIDERS": str(_FOLDER / "providers.yaml"),
            "PERDURE_ALLOW_PRIVATE_NETWORKS": "true",
            "TEMPORAL_ADDRESS": temporal.address,
            "PYTHONFAULTHANDLER": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
            "TZ": "UTC",
        }
        cluster = Cluster(
            api_urls={name: f"http://{LOOPBACK}:{ports[name]}" for name in APIS},
            secret_key=secret_key,
            database_url=postgres.database_url,
            before=before,
            _environment=environment,
            _guard=guard,
            _folder=folder,
        )

        async def add(service: Service) -> None:
            part = cluster.parts[service.name] = Part(
                service, guard, before.environment if before else ()
            )
            await stack.enter_async_context(part.kept())

        await add(postgres.service)
        await add(temporal.service)
        cluster.migrated_seconds = await cluster.migrate(code=before)
        first = environment | dict(before.environment if before else {})
        for name in APIS:
            await add(_api(name, folder, first, ports[name]))
        for name in WORKERS:
            await add(_worker(name, folder, first))
        yield cluster


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "perdure", *arguments)


def _api(name: str, folder: Path, environment: dict[str, str], port: int) -> Service:
    async def is_ready() -> bool:
        return await asyncio.to_thread(_answers, port, "/health/ready")

    return Service(
        name=name,
        command=_command("api"),
        environment=environment | {"PERDURE_PORT": str(port)},
        log=folder / "logs" / f"{name}.log",
        probe=is_ready,
    )


def _worker(name: str, folder: Path, environment: dict[str, str]) -> Service:
    sign = folder / f"{name}.ready"

    async def is_ready() -> bool:
        return is_alive(sign)

    def forget() -> None:
        sign.unlink(missing_ok=True)

    return Service(
        name=name,
        command=_command("worker"),
        environment=environment | {"PERDURE_READY_FILE": str(sign)},
        log=folder / "logs" / f"{name}.log",
        probe=is_ready,
        before=forget,
    )


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection(LOOPBACK, port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
