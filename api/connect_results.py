"""Tells windows of the application how an attempt ended, over a WebSocket.

The window is given an id, which the attempt carries along; the result is passed on through the
database, since the end user may come back to another process.
"""

from __future__ import annotations

import asyncio
import time
import uuid

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.dependencies import Dependencies
from perdure.db.oauth_states import STATE_TTL
from perdure.errors import UnavailableError

__all__ = ["wait_for_result"]

_LOOK_SECONDS = 0.5


async def wait_for_result(socket: WebSocket) -> None:
    """Give the window an id, and how the attempt that carries it ended."""
    deps: Dependencies = socket.app.state.dependencies
    stopping: asyncio.Event = socket.app.state.stopping
    client_id = uuid.uuid4()
    await socket.accept()
    await socket.send_json({"message_type": "connection_ack", "ws_client_id": str(client_id)})
    gone = asyncio.create_task(_gone(socket))
    deadline = time.monotonic() + STATE_TTL.total_seconds()
    try:
        while time.monotonic() < deadline and not (gone.done() or stopping.is_set()):
            try:
                result = await deps.database.connect_sessions.take_result(client_id)
            except UnavailableError:
                result = None
            if result is not None:
                await socket.send_json(result)
                break
            await asyncio.wait([gone], timeout=_LOOK_SECONDS)
    finally:
        if not gone.done():
            gone.cancel()
            await socket.close()


async def _gone(socket: WebSocket) -> None:
    """Read what the window sends, which is nothing, until it is closed."""
    try:
        while True:
            await socket.receive()
    except (WebSocketDisconnect, RuntimeError):
        return
