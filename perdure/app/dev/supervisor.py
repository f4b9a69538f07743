"""Keeps services running: one that ends is started again within two seconds."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from perdure.embedded.process import Guard, Process, Service
from perdure.errors import StartupError

__all__ = ["Supervisor"]

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 1.5
"""Seconds between the end of a process and its next start; doubled while it does not come up."""


class Supervisor:
    """Starts services in groups, restarts them, and stops the groups in reverse order.

    Args:
        guard: Ends the processes when we cannot.
        say: Called with a service's name and a sentence for people.
        changed: Called when a service has a new process.
    """

    def __init__(
        self, guard: Guard, say: Callable[[str, str], None], changed: Callable[[], None]
    ) -> None:
        self._guard = guard
        self._say = say
        self._changed = changed
        self._groups: list[tuple[Service, ...]] = []
        self._processes: dict[str, Process] = {}

    def pid(self, name: str) -> int:
        """Return the process id of a service that was started."""
        return self._processes[name].pid

    async def start(self, *services: Service) -> None:
        """Start services side by side and wait until each of them answers.

        Raises:
            StartupError: One of them does not come up; the others may run.
        """
        self._groups.append(services)
        starts = [asyncio.create_task(self._start(service)) for service in services]
        try:
            await asyncio.gather(*starts)
        finally:
            for start in starts:
                start.cancel()
            await asyncio.wait(starts)

    async def run(self) -> None:
        """Keep the started services running until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._guard.keep())
            for service in (service for group in self._groups for service in group):
                tasks.create_task(self._keep(service))

    async def stop(self) -> None:
        """End all processes, those that were started last first."""
        for group in reversed(self._groups):
            names = (service.name for service in group)
            running = [self._processes[name] for name in names if name in self._processes]
            await asyncio.gather(*(process.stop() for process in running))

    def kill(self) -> None:
        """End all processes at once."""
        for process in self._processes.values():
            process.signal(signal.SIGKILL)

    async def _start(self, service: Service) -> None:
        began = time.monotonic()
        process = await self._spawn(service)
        await process.until_ready(service.probe)
        self._say(service.name, f"ready after {time.monotonic() - began:.1f} s")

    async def _spawn(self, service: Service) -> Process:
        service.before()
        process = await Process.start(service, self._guard)
        self._processes[service.name] = process
        return process

    async def _keep(self, service: Service) -> None:
        process = self._processes[service.name]
        delay = _FIRST_DELAY
        while True:
            code = await process.wait()
            self._say(service.name, f"ended ({_describe(code)}), starting it again")
            try:
                await asyncio.sleep(delay)
                process = await self._spawn(service)
                self._changed()
                await process.until_ready(service.probe)
            except (StartupError, OSError) as error:
                if delay == _FIRST_DELAY:
                    self._say(service.name, str(error))
                delay = min(delay * 2, _LONGEST_DELAY)
            else:
                self._say(service.name, f"answers again (process {process.pid})")
                delay = _FIRST_DELAY


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
