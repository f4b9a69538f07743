"""The short way in for pages of records, which are read one after the other.

What FastAPI does with a request until it is at its endpoint takes as long as to read some hundred
records. So valid requests are handed to it from here, with what they need. Others go on, and are
told what is wrong with them as everywhere.
"""

from __future__ import annotations

from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.dependencies import Dependencies
from api.errors import error_response
from api.permission import permit
from api.routers.records import RecordQuery, list_records, query_values

__all__ = ["RecordsDoor", "valid_request"]

_PATH = "/records"


class RecordsDoor:
    """Hands valid `GET /records` to their endpoint. It stands behind whoever asks for a key.

    Args:
        app: Serves everything else.
        dependencies: What the process is made of.
    """

    def __init__(self, app: ASGIApp, dependencies: Dependencies) -> None:
        self._app = app
        self._dependencies = dependencies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        request = Request(scope, receive) if _is_read(scope) else None
        asked = None if request is None else valid_request(request)
        if request is None or asked is None:
            await self._app(scope, receive, send)
            return
        connection_id, integration, query = asked
        try:
            await permit(request, self._dependencies, _PATH)
            answer = await list_records(
                self._dependencies,
                request.state.access,
                connection_id=connection_id,
                integration=integration,
                query=query,
            )
        except Exception as error:  # noqa: BLE001 - all of them become answers
            answer = error_response(error, request)
        await answer(scope, receive, send)


def valid_request(request: Request) -> tuple[str, str, RecordQuery] | None:
    """Return connection, integration and query of a request, None where it is not valid."""
    connection_id = request.headers.get("connection-id")
    integration = request.headers.get("provider-config-key")
    if not connection_id or not integration:
        return None
    try:
        query = RecordQuery.model_validate(query_values(request))
    except ValidationError:
        return None
    return connection_id, integration, query


def _is_read(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == _PATH)
