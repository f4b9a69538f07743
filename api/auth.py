"""Lets in whoever holds the secret key of an environment, before anything of a request is read.

The key is looked up by its SHA-256, so how long an answer takes says nothing about it.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.dependencies import Dependencies
from perdure.db.environments import Environment
from perdure.errors import UnauthorizedError

__all__ = ["Authenticate"]

_OPEN_PATHS = frozenset({"/health", "/ready"})
_OPEN_FOLDERS = ("/docs/", "/webhook/")


class Authenticate:
    """Puts the caller's environment into `request.state.environment`; see `api.dependencies`.

    Open to everybody are `/health` and `/ready`, the files of the page below `/docs`, which hold
    nothing of any environment, and what providers call below `/webhook`, which is held against
    their signatures.

    Args:
        app: What is protected.
        dependencies: Where environments are found.
    """

    def __init__(self, app: ASGIApp, dependencies: Dependencies) -> None:
        self._app = app
        self._environments = dependencies.database.environments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        Raises:
            UnauthorizedError: `missing_auth_header` or `unknown_account`.
        """
        if scope["type"] == "http" and not _is_open(scope["path"]):
            scope["state"]["environment"] = await self._environment(Headers(scope=scope))
        await self._app(scope, receive, send)

    async def _environment(self, headers: Headers) -> Environment:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            msg = "Send the environment's secret key as `Authorization: Bearer <secret key>`."
            raise UnauthorizedError(msg, code="missing_auth_header")
        return await self._environments.by_secret_key(key.strip())


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS)
