"""Tells windows of the application how an attempt ended, over a WebSocket.

The window is given an id, which the attempt carries along; the result is passed on through the
database, since the end user may come back to another process. Anybody may open such a socket, so
one query looks for all of them, and there is an end to how many there may be.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.background import AppTasks
from perdure.db.oauth_states import STATE_TTL
from perdure.errors import UnavailableError
from perdure.records.canonical import JsonObject

__all__ = ["AttemptResults", "wait_for_result"]

_LOOK_SECONDS = 0.5
_MOST_WAITING = 5_000
_TRY_AGAIN_LATER = 1013


class AttemptResults:
    """Looks for how attempts ended, for all who wait for that in this process.

    Args:
        take: Returns results by id, each once; see `ConnectSessionStore.take_results`.
        background: Where it goes on while somebody waits.
        most: How many may wait at once.
    """

    def __init__(
        self,
        take: Callable[[Sequence[uuid.UUID]], Awaitable[Mapping[uuid.UUID, JsonObject]]],
        background: AppTasks,
        most: int = _MOST_WAITING,
    ) -> None:
        self._take = take
        self._background = background
        self._most = most
        self._waiting: dict[uuid.UUID, asyncio.Future[JsonObject]] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether nobody else can wait at present."""
        return len(self._waiting) >= self._most

    async def wait(self, client_id: uuid.UUID) -> JsonObject:
        """Return how an attempt ended, once it has."""
        future: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()
        self._waiting[client_id] = future
        if self._looking is None or self._looking.done():
            self._looking = self._background.start(self._look())
        try:
            return await future
        finally:
            self._waiting.pop(client_id, None)

    async def _look(self) -> None:
        while self._waiting:
            try:
                found = await self._take(list(self._waiting))
            except UnavailableError:
                found = {}
            for client_id, result in found.items():
                future = self._waiting.get(client_id)
                if future is not None and not future.done():
                    future.set_result(result)
            await asyncio.sleep(_LOOK_SECONDS)


async def wait_for_result(socket: WebSocket) -> None:
    """Give the window an id, and how the attempt that carries it ended."""
    results: AttemptResults = socket.app.state.results
    stopping: asyncio.Event = socket.app.state.stopping
    await socket.accept()
    if results.is_full:
        await socket.close(_TRY_AGAIN_LATER)
        return
    client_id = uuid.uuid4()
    waiting = asyncio.create_task(results.wait(client_id))
    gone = asyncio.create_task(_gone(socket))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await socket.send_json({"message_type": "connection_ack", "ws_client_id": str(client_id)})
        await asyncio.wait(
            [waiting, gone, stopped],
            timeout=STATE_TTL.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        if waiting.done() and not gone.done():
            await socket.send_json(waiting.result())
    except WebSocketDisconnect:
        return
    finally:
        is_open = not gone.done()
        for task in (waiting, gone, stopped):
            task.cancel()
        if is_open:
            await socket.close()


async def _gone(socket: WebSocket) -> None:
    """Read what the window sends, which is nothing, until it is closed."""
    try:
        while True:
            await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        return
