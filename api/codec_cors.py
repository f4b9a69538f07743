"""Lets the Temporal UI, and no other site, call the codec endpoint from a browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["CodecCors"]

_FOLDER = "/codec/"


class CodecCors:
    """Answers the browser's questions whether the UI may call, before anybody asks for a key.

    Args:
        app: What is called.
        ui_url: URL of the UI; None lets no site call.
    """

    def __init__(self, app: ASGIApp, ui_url: str | None) -> None:
        self._app = app
        self._codec = CORSMiddleware(
            app,
            allow_origins=[_origin(ui_url)] if ui_url else [],
            allow_methods=["POST"],
            allow_headers=["authorization", "content-type", "x-namespace"],
            allow_credentials=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        is_codec = scope["type"] == "http" and scope["path"].startswith(_FOLDER)
        await (self._codec if is_codec else self._app)(scope, receive, send)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
