"""Answers `HEAD` wherever there is something to `GET`, as checks of uptime and caches expect."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.connect_paths import CONNECT_FOLDERS, CONNECT_PATHS
from api.requests import PASSING_PATH

__all__ = ["AnswerHead"]

# Where a GET does something, has no end, or belongs to somebody else who knows HEAD.
_OWN = (PASSING_PATH, "/webhook/", "/v1/", "/records/stream", "/mcp", "/codec", *CONNECT_FOLDERS)


class AnswerHead:
    """Answers as to a `GET`, without the body.

    Args:
        app: What is called.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or _has_its_own(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, headers_only)


def _has_its_own(path: str) -> bool:
    return path in CONNECT_PATHS or path.startswith(_OWN)
