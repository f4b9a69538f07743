"""The api process: uvicorn around the API, ended by a signal in an order that loses no request.

First it says that it is not ready, and still answers, so that whoever spreads requests over several
processes sends them elsewhere; each answer closes its connection. Then it takes no more, streams
come to their end, and what is under way is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from api.app import create_app
from config.settings import Settings
from perdure.app.container import open_container
from perdure.app.schema_wait import until_migrated
from perdure.app.signals import stopped_by_signals
from perdure.app.sync_watch import watching_syncs
from perdure.errors import StartupError

__all__ = ["run_api"]

# Requests under way get this long to end; actions go on in Temporal.
_GRACE_SECONDS = 5
# Load balancers keep connections for a minute at most. They have to be the first to close one, else
# they send a request over a connection that is being closed.
_IDLE_SECONDS = 75

log = structlog.get_logger(__name__)


async def run_api(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT, then end in good order; a second signal ends it now.

    Temporal need not be there yet: what needs it answers 503 until it is.

    Raises:
        StartupError: A setting is missing or wrong, the port is taken, or the database lacks
            revisions and goes on to lack them.
        UnavailableError: Postgres does not answer.
    """
    async with contextlib.AsyncExitStack() as stack:
        container = await stack.enter_async_context(
            open_container(settings, name="perdure-api", lazy=True)
        )
        await until_migrated(container.database)
        if settings.metrics_address is not None:
            await stack.enter_async_context(watching_syncs(container.database.overview))
        server = _Server(create_app(container), settings.drain_seconds)
        with _listening(settings.host, settings.port) as listener, stopped_by_signals(server.stop):
            log.info("api_started", host=settings.host, port=settings.port)
            await server.serve(sockets=[listener])
        log.info("api_stopped")


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has more to close than the server.

    Args:
        app: The API.
        drain_seconds: How long it still answers after `stop`.
    """

    def __init__(self, app: FastAPI, drain_seconds: float) -> None:
        super().__init__(
            uvicorn.Config(
                self._serve_app,
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
                timeout_keep_alive=_IDLE_SECONDS,
            )
        )
        self._app = app
        self._drain_seconds = drain_seconds

    def stop(self) -> None:
        """Say that requests are to go elsewhere, and stop a little later."""
        log.info("api_stopping", drain_seconds=self._drain_seconds)
        self._app.state.draining = True
        asyncio.get_running_loop().call_later(self._drain_seconds, self._end)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See base class."""
        yield

    def _end(self) -> None:
        self.should_exit = True
        self._app.state.stopping.set()

    async def _serve_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            # The next request of this client goes over another connection, to another process.
            if message["type"] == "http.response.start" and self._app.state.draining:
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_last)


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
