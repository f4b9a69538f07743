"""What end users call with the token of a connect session, from pages of any site."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["CONNECT_FOLDERS", "CONNECT_PATHS", "ConnectCors"]

CONNECT_PATHS = frozenset(
    {"/connect", "/connect/session", "/connect/telemetry", "/oauth/callback", "/app-auth/connect"}
)
"""Paths that no key of an environment is needed for."""

CONNECT_FOLDERS = (
    "/api-auth/",
    "/auth/",
    "/connect/assets/",
    "/connect/integrations/",
    "/oauth/connect/",
    "/oauth2/auth/",
)
"""Beginnings of such paths."""


class ConnectCors:
    """Lets scripts of any site call these paths; they bring their token, and no cookie counts.

    Args:
        app: What is called.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open = CORSMiddleware(
            app, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        path = scope.get("path", "")
        is_open = scope["type"] == "http" and (
            path in CONNECT_PATHS or path.startswith(CONNECT_FOLDERS)
        )
        await (self._open if is_open else self._app)(scope, receive, send)
