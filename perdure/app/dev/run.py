"""The life of `perdure dev`: bring the stack up, keep it up, take it down."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from perdure.app.dev.children import MetricsPorts, children, codec_endpoint, dashboard_link
from perdure.app.dev.contract import DeployProject, DevOptions, Programs
from perdure.app.dev.folder import DataFolder, DevFile, Pids, Secrets, data_folder
from perdure.app.dev.lines import Lines
from perdure.app.dev.project import keep_deployed
from perdure.app.dev.supervisor import Supervisor
from perdure.embedded.lock import FolderLock, lock_folder
from perdure.embedded.ports import LOOPBACK, choose_ports
from perdure.embedded.postgres import Postgres, open_cluster
from perdure.embedded.process import Guard, Program, run_to_end, tail
from perdure.embedded.temporal import NAMESPACE, Temporal, temporal_server
from perdure.errors import StartupError

__all__ = ["run"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run(options: DevOptions, deploy: DeployProject, programs: Programs) -> int:
    """Run the stack until a signal asks it to end; a second signal makes it quick.

    Returns:
        The exit code: 0 after a signal, 1 when the stack could not be brought up.
    """
    lines = Lines()
    dev = _Dev(options, deploy, programs, lines)
    asked = asyncio.Event()

    def end() -> None:
        if asked.is_set():
            dev.kill()
        asked.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, end)
    serving = asyncio.create_task(dev.serve())
    asking = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({serving, asking}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asking.cancel()
        serving.cancel()
        await asyncio.wait({serving, asking})
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    if serving.cancelled():
        return 0
    try:
        serving.result()
    except StartupError as error:
        lines.fail(error.message)
        return 1
    return 0


class _Dev:
    """Takes what a stack needs, one thing after the other, and gives it back in reverse order."""

    def __init__(
        self, options: DevOptions, deploy: DeployProject, programs: Programs, lines: Lines
    ) -> None:
        self._options = options
        self._deploy = deploy
        self._programs = programs
        self._lines = lines
        self._stack: _Stack | None = None

    def kill(self) -> None:
        """End all processes at once."""
        if self._stack is not None:
            self._stack.supervisor.kill()

    async def serve(self) -> None:
        """Bring the stack up and keep it up until cancelled; it is down when this returns.

        Raises:
            StartupError: It cannot be brought up.
        """
        began = time.monotonic()
        options = self._options
        project = _project_folder(options.project)
        folder = data_folder(options.data_dir)
        async with lock_folder(folder.path) as lock:
            folder.remove_dev_file()
            ports = choose_ports(
                {
                    "--port": options.port,
                    "--temporal-port": options.temporal_port,
                    "--ui-port": options.ui_port,
                    "the api's metrics": 0,
                    "the worker's metrics": 0,
                }
            )
            secrets = folder.secrets()
            temporal = temporal_server(
                folder.path,
                port=ports["--temporal-port"],
                ui_port=ports["--ui-port"],
                db_filename=folder.temporal_db,
                codec_endpoint=codec_endpoint(ports["--port"], secrets),
            )
            async with Guard(lock.fd) as guard, open_cluster(folder.path, guard) as postgres:
                stack = _Stack(
                    folder=folder,
                    lock=lock,
                    guard=guard,
                    secrets=secrets,
                    postgres=postgres,
                    temporal=temporal,
                    port=ports["--port"],
                    metrics=MetricsPorts(ports["the api's metrics"], ports["the worker's metrics"]),
                    lines=self._lines,
                )
                self._stack = stack
                try:
                    await stack.bring_up(self._programs, began)
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(stack.supervisor.run())
                        if project is not None:
                            await keep_deployed(
                                project,
                                self._deploy,
                                stack.describe,
                                data_dir=folder.path,
                                watch=options.watch,
                                say=self._lines.say,
                            )
                finally:
                    await stack.take_down()


class _Stack:
    """The processes of one run, and what other programs are told about them."""

    def __init__(
        self,
        *,
        folder: DataFolder,
        lock: FolderLock,
        guard: Guard,
        secrets: Secrets,
        postgres: Postgres,
        temporal: Temporal,
        port: int,
        metrics: MetricsPorts,
        lines: Lines,
    ) -> None:
        self.supervisor = Supervisor(guard, lines.say, self._tell)
        self._folder = folder
        self._lock = lock
        self._guard = guard
        self._secrets = secrets
        self._postgres = postgres
        self._temporal = temporal
        self._port = port
        self._metrics = metrics
        self._lines = lines

    async def bring_up(self, programs: Programs, began: float) -> None:
        """Start everything, in the order of what needs what, and write `dev.json`.

        Args:
            programs: The commands of our own processes.
            began: When it all began, on the monotonic clock.

        Raises:
            StartupError: A process does not come up.
        """
        ours = children(
            programs=programs,
            folder=self._folder,
            secrets=self._secrets,
            port=self._port,
            metrics=self._metrics,
            postgres=self._postgres,
            temporal=self._temporal,
        )
        await self.supervisor.start(self._postgres.service, self._temporal.service)
        await self._run(ours.migrate)
        await self.supervisor.start(ours.api, ours.worker)
        self._tell()
        self._lines.stack(
            self.describe(),
            self._folder.path,
            time.monotonic() - began,
            dashboard=dashboard_link(self._port, self._secrets),
        )

    async def take_down(self) -> None:
        """End everything, in reverse order."""
        self._lines.say("dev", "ending")
        self._folder.remove_dev_file()
        self._lock.announce_end()
        await self.supervisor.stop()

    def describe(self) -> DevFile:
        """Return where the stack is at this moment."""
        pid = self.supervisor.pid
        return DevFile(
            api_url=f"http://{LOOPBACK}:{self._port}",
            secret_key=self._secrets.secret_key,
            temporal_address=self._temporal.address,
            temporal_namespace=NAMESPACE,
            temporal_ui_url=self._temporal.ui_url,
            database_url=self._postgres.database_url,
            metrics_urls=self._metrics.urls,
            pids=Pids(
                dev=os.getpid(),
                api=pid("api"),
                worker=pid("worker"),
                temporal=pid("temporal"),
                postgres=pid("postgres"),
            ),
        )

    def _tell(self) -> None:
        self._folder.write_dev_file(self.describe())

    async def _run(self, program: Program) -> None:
        code = await run_to_end(program, self._guard)
        if code != 0:
            message = (
                f"{program.name} ended with exit code {code}; the last lines of {program.log}:"
            )
            raise StartupError(f"{message}\n{tail(program.log)}")


def _project_folder(project: Path | None) -> Path | None:
    if project is None:
        return None
    folder = project.resolve()
    if not folder.is_dir():
        message = f"the project folder {folder} does not exist"
        raise StartupError(message, code="project_missing")
    return folder
