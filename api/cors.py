"""Lets pages of any site call the API, which they need a key or the token of a session for."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["OpenCors"]

_CODEC = "/codec"
_EXPOSED = (
    "location",
    "retry-after",
    "x-action-id",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
)


class OpenCors:
    """Answers the questions of browsers before anybody asks for a key.

    No cookie counts where every site may call: whoever calls has to hold a key or a token. The
    codec endpoint, which knows a cookie, is left to `api.codec_cors`.

    Args:
        app: What is called.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open = CORSMiddleware(
            app,
            allow_origins=["*"],
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        is_open = scope["type"] == "http" and not _is_codec(scope["path"])
        await (self._open if is_open else self._app)(scope, receive, send)


def _is_codec(path: str) -> bool:
    return path == _CODEC or path.startswith(f"{_CODEC}/")
