"""Takes a path that ends in a slash for the one without, as clients write either.

A redirect would do for some, but names the scheme that we are called with behind a proxy that ends
TLS: whoever followed it would send the key in clear.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from api.requests import PASSING_PATH

__all__ = ["IgnoreLastSlash"]

# What follows belongs to somebody else, is a name that must not be empty, or a page of its own.
_MEANT = (PASSING_PATH, "/v1/")
_NAMES = frozenset({"/connections/", "/connection/", "/dashboard/"})


class IgnoreLastSlash:
    """Drops the slash at the end of a path. One that is part of a name comes as `%2F`, and stays.

    Args:
        app: What is called.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http" and _is_superfluous(scope):
            raw = scope["raw_path"][:-1]
            scope = {**scope, "path": scope["path"][:-1], "raw_path": raw}
        await self._app(scope, receive, send)


def _is_superfluous(scope: Scope) -> bool:
    path, raw = scope["path"], scope.get("raw_path") or b""
    return raw.endswith(b"/") and path != "/" and path not in _NAMES and not path.startswith(_MEANT)
