"""The api process: uvicorn around the API, ended by a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import structlog
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from config.settings import Settings
from perdure.app.container import open_container
from perdure.errors import StartupError

__all__ = ["run_api"]

# Requests under way get this long to end; actions go on in Temporal.
_GRACE_SECONDS = 5
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


async def run_api(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT, then let requests under way end in a few seconds.

    Temporal need not be there yet: what needs it answers 503 until it is.

    Raises:
        StartupError: A setting is missing or wrong, or the port is taken.
        UnavailableError: Postgres does not answer.
    """
    async with open_container(settings, name="perdure-api", lazy=True) as container:
        app = create_app(container)
        server = _Server(
            app,
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            ),
        )
        with _listening(settings.host, settings.port) as listener, _stopped_by_signals(server):
            log.info("api_started", host=settings.host, port=settings.port)
            await server.serve(sockets=[listener])
        log.info("api_stopped")


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has more to close than the server."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def stop(self) -> None:
        """Stop gracefully, the second time at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._app.state.stopping.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See base class."""
        yield


@contextlib.contextmanager
def _stopped_by_signals(server: _Server) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, server.stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or error
        msg = f"Cannot listen on {host}:{port} (PERDURE_HOST, PERDURE_PORT): {reason}"
        raise StartupError(msg, code="address_unavailable") from error
    with listener:
        yield listener
