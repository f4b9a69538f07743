"""Lets in whoever holds a key of an environment, before anything of a request is read.

The key is looked up by its SHA-256, so how long an answer takes says nothing about it. What it may
do is checked once it is known which endpoint the request is for; see `api.permission`.
"""

from __future__ import annotations

import re

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import Gate
from api.codec_session import session_key, session_of
from api.connect_paths import CONNECT_FOLDERS, CONNECT_PATHS
from api.dependencies import Dependencies
from api.errors import ApiError
from api.rate_limit import RateLimit, Usage
from perdure.errors import PerdureError, UnauthorizedError
from perdure.observability.metrics import API_REFUSALS

__all__ = ["Authenticate"]

_OPEN_PATHS = frozenset(
    {
        "/",
        "/favicon.ico",
        "/nango.schema.json",
        "/health",
        "/health/live",
        "/health/ready",
        "/ready",
        "/codec",
        "/codec/session",
        "/dashboard",
        *CONNECT_PATHS,
    }
)
_CODEC_FOLDER = "/codec/"
_OPEN_FOLDERS = ("/dashboard/", "/docs/", "/webhook/", *CONNECT_FOLDERS)
_KEY = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

log = structlog.get_logger(__name__)


class Authenticate:
    """Puts what the caller's key opens into `request.state.access`; see `api.dependencies`.

    Open to everybody are `/ready`, `/health` and what is below it, the files of the page below
    `/docs` and the schema that editors read, which hold nothing of any environment, what providers
    call below `/webhook`, which is held against their signatures, what end users call with the
    token of a connect session, the page at `/codec` that takes a key, see `api.codec_session` for
    what a browser sends then, and the dashboard, which asks for a key itself.

    Args:
        app: What is protected.
        dependencies: Where environments are found.
        gate: Finds what keys open.
    """

    def __init__(self, app: ASGIApp, dependencies: Dependencies, gate: Gate) -> None:
        self._app = app
        self._gate = gate
        self._keyring = dependencies.keyring
        self._audit = dependencies.database.audit
        limit = dependencies.settings.requests_per_minute
        self._rate_limit = None if limit is None else RateLimit(limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        Raises:
            UnauthorizedError: `missing_auth_header`, `invalid_secret_key_format` or
                `unknown_account`.
            ApiError: 429 `too_many_request`.
        """
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        try:
            access, state["environment"] = await self._gate.open(self._key(scope))
        except UnauthorizedError:
            API_REFUSALS.add(reason="key")
            raise
        state["access"] = access
        usage = self._rate_limit.count(access.bucket) if self._rate_limit else None
        if usage is not None and usage.exceeded:
            API_REFUSALS.add(reason="limit")
            raise _too_many(scope, usage)

        async def told_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                if usage is not None:
                    headers = MutableHeaders(scope=message)
                    # A provider's own, where its answer is passed on, are what its caller needs.
                    if not any(name in headers for name in usage.headers):
                        headers.update(usage.headers)
                await self._end_act(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, told_send)
        except PerdureError as error:
            await self._end_act(scope, 500, error.code)
            raise
        except Exception:
            await self._end_act(scope, 500, "server_error")
            raise

    def _key(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        if scope["path"].startswith(_CODEC_FOLDER) and "authorization" not in headers:
            key = session_key(self._keyring, session_of(scope["path"], headers))
            if key is None:
                msg = "Give a key at /codec first, or send it as `Authorization: Bearer <key>`."
                raise UnauthorizedError(msg, code="missing_auth_header")
            return key
        return _key(headers)

    async def _end_act(self, scope: Scope, status: int, error: str | None = None) -> None:
        """Note how an administrative act ended, if it is one; see `api.permission`."""
        state = scope["state"]
        event_id = state.pop("audit_event", None)
        if event_id is None:
            return
        failed = error or state.get("error_code")
        try:
            await self._audit.end(
                event_id,
                status=status,
                error=failed if status >= 400 else None,
                subject=state.get("audit_subject"),
            )
        except PerdureError as unwritten:
            # The act is done and its caller is to hear of it; its row says that the end is unknown.
            log.warning("audit_end_not_written", audit_id=event_id, error=unwritten.message)


def _key(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        msg = "Send a key of the environment as `Authorization: Bearer <key>`."
        raise UnauthorizedError(msg, code="missing_auth_header")
    if not _KEY.fullmatch(key):
        msg = "A key is a UUID, such as 5b3f0a5e-6d0f-4e6a-9f43-9c2b1f6f3c11; this is none."
        raise UnauthorizedError(msg, code="invalid_secret_key_format")
    return key


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS)


def _too_many(scope: Scope, usage: Usage) -> ApiError:
    msg = f"The key has made its {usage.limit} requests of this minute; see Retry-After."
    where = {"method": scope["method"], "path": scope["path"]}
    return ApiError(429, "too_many_request", msg, headers=usage.headers, extra=where)
