"""Calls of our own API, without a way over the network.

The dashboard asks as any client does, with the key of whoever is signed in: what the key may not
do, the dashboard does not show, and what is done there stands in the audit like everything else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlencode

from starlette.types import ASGIApp, Message, Scope

from perdure.errors import PerdureError

__all__ = ["Api", "RefusedError", "path_of"]

Query: TypeAlias = Mapping[str, Any]
"""What is asked for; a sequence stands for several values, None is left out."""


class RefusedError(PerdureError):
    """What the API answered instead of what was asked for.

    Attributes:
        status: Status of the answer.
        errors: What is wrong with which field, as the envelope has it.
    """

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(
            str(error.get("message", "")),
            code=str(error.get("code", "server_error")),
            payload=error.get("payload"),
        )
        self.status = status
        self.errors: Sequence[Mapping[str, Any]] = error.get("errors") or ()


class Api:
    """The API as one key sees it.

    Args:
        app: The API.
        scope: Of the request that this is done for: its client, server and request id are taken.
        key: The key.
    """

    def __init__(self, app: ASGIApp, scope: Scope, key: str) -> None:
        self._app = app
        self._scope = scope
        self._key = key

    async def get(
        self, path: str, query: Query | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Return what the API says.

        Args:
            path: As `path_of` makes it.
            query: What is None is left out.
            headers: Further headers.

        Raises:
            RefusedError: It does not say it.
        """
        return await self.call("GET", path, query=query, headers=headers)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Any:
        """Have something done and return the answer, decoded.

        Raises:
            RefusedError: It was not done.
        """
        content = b"" if body is None else json.dumps(body).encode()
        given = {
            "authorization": f"Bearer {self._key}",
            "x-request-id": self._scope["state"]["request_id"],
            **({"content-type": "application/json"} if body is not None else {}),
            "content-length": str(len(content)),
            **(headers or {}),
        }
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        scope = {
            "type": "http",
            "asgi": self._scope["asgi"],
            "http_version": "1.1",
            "method": method,
            "scheme": self._scope["scheme"],
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": urlencode(asked, doseq=True).encode(),
            "root_path": "",
            "headers": [
                (name.lower().encode(), value.encode("utf-8")) for name, value in given.items()
            ],
            "client": self._scope["client"],
            "server": self._scope["server"],
            "state": {"is_internal": True},
        }
        status, answer = await _exchange(self._app, scope, content)
        try:
            decoded = json.loads(answer) if answer else None
        except ValueError:
            decoded = answer.decode("utf-8", "replace")
        if status >= 400:
            raise RefusedError(status, _error_of(decoded))
        return decoded


def _error_of(answer: object) -> Mapping[str, Any]:
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {"message": str(answer)}


def path_of(*parts: str) -> str:
    """Return a path of the parts, each of which may hold anything."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


async def _exchange(app: ASGIApp, scope: Scope, content: bytes) -> tuple[int, bytes]:
    status = 500
    parts: list[bytes] = []
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            # Whoever asks stays for the answer.
            await asyncio.get_running_loop().create_future()
        sent = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, b"".join(parts)
