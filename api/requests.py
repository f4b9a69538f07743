"""What surrounds every request: an id, a log line, a limit for the body, and always an answer."""

from __future__ import annotations

import asyncio
import re
import secrets
import time

import structlog
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import Span, Status, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.connect_paths import CONNECT_FOLDERS, CONNECT_PATHS
from api.errors import ApiError, error_response
from perdure.observability.metrics import API_REQUEST_SECONDS, API_REQUESTS
from perdure.observability.tracing import request_span
from perdure.proxy.requests import METHODS

__all__ = ["NO_TELEMETRY", "PASSING_PATH", "LimitBody", "ObserveRequest"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# What stands for a key in the address of the codec endpoint; see `api.codec_session`.
_SESSION = re.compile(r"^/codec/[^/]+/")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.-]*")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_QUIET_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/ready"})
# What is served beside the routes of `api.routers`.
_UNROUTED = ("/dashboard", "/mcp", "/webhook")

_MAX_STRANGER_BYTES = 256 * 1024
# What nobody needs a key for, and what is read before anybody looks at a token.
_STRANGERS = ("/codec/session", "/dashboard/sign-in", *CONNECT_FOLDERS)

PASSING_PATH = "/proxy/"
"""What comes below belongs to a provider: bodies pass through, and paths may hold secrets."""

NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""Turns off what FastAPI tells by itself: queries, in which codes and tokens of logins stand."""

log = structlog.get_logger(__name__)


class ObserveRequest:
    """Gives each request an id, logs its outcome, and answers what nobody else answered.

    The caller's `X-Request-Id` is taken over; the answer carries it, and so does everything that
    is logged meanwhile. Neither query nor headers nor bodies are logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request.state.request_id = request_id = _request_id(request.headers)
        status = 0
        began = time.perf_counter()

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # A provider's own, where its answer is passed on, is worth more to the caller.
                MutableHeaders(scope=message).setdefault("x-request-id", request_id)
            await send(message)

        caller = request.headers if "authorization" in request.headers else None
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            request_span(_method(request), caller) as span,
        ):
            try:
                await self._app(scope, receive, observed_send)
            except asyncio.CancelledError:
                # Only whoever ends the process cancels a request, when it has waited long enough.
                if status:
                    raise
                await error_response(_cut_off(request), request)(scope, receive, observed_send)
            except Exception as error:
                if status:
                    # The answer has begun; all that is left is to break it off.
                    raise
                await error_response(error, request)(scope, receive, observed_send)
            finally:
                seconds = time.perf_counter() - began
                _log_outcome(request, status, seconds)
                _count(request, status, seconds)
                _tell(span, request, status)


def _cut_off(request: Request) -> ApiError:
    """Say that the process ends; only what changes nothing is simply to be asked again."""
    if request.method in _SAFE_METHODS:
        return ApiError(503, "process_stopping", "This API process ends; ask again.")
    msg = "This API process ends before it can say what comes of this; look before you repeat it."
    return ApiError(504, "outcome_unknown", msg)


class LimitBody:
    """Refuses bodies that are too large, by their announced size or while they arrive.

    Whoever has no key may send the fields of a form, and not more.

    Args:
        app: What is protected.
        max_bytes: Size of the largest body.
        max_passing_bytes: The same where a body passes through without being held.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_passing_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_passing_bytes = max_passing_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        Raises:
            HTTPException: 413. FastAPI passes this class on where it reads the body.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise HTTPException(413)
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413)
            return message

        await self._app(scope, limited_receive, send)

    def _limit(self, path: str) -> int:
        if path in CONNECT_PATHS or path.startswith(_STRANGERS):
            return _MAX_STRANGER_BYTES
        return self._max_passing_bytes if path.startswith(PASSING_PATH) else self._max_bytes


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def _log_outcome(request: Request, status: int, seconds: float) -> None:
    path = _sent_path(request)
    is_quiet = path in _QUIET_PATHS or getattr(request.state, "is_internal", False)
    write = log.debug if is_quiet else log.info
    write(
        "request",
        method=request.method,
        path=_shown(path),
        status=status,
        error=getattr(request.state, "error_code", None),
        duration_ms=round(seconds * 1000, 1),
    )


def _count(request: Request, status: int, seconds: float) -> None:
    if getattr(request.state, "is_internal", False):
        return
    method, route = _method(request), _route(request)
    API_REQUESTS.add(method=method, route=route, status=str(status))
    API_REQUEST_SECONDS.record(seconds, method=method, route=route)


def _tell(span: Span, request: Request, status: int) -> None:
    if not span.is_recording():
        return
    route = _route(request)
    span.update_name(f"{_method(request)} {route}")
    span.set_attributes(
        {
            "http.route": route,
            "http.response.status_code": status,
            "perdure.request_id": request.state.request_id,
        }
    )
    if error := getattr(request.state, "error_code", None):
        span.set_attribute("error.type", error)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def _method(request: Request) -> str:
    return request.method if request.method in METHODS else "other"


def _route(request: Request) -> str:
    routed: str | None = getattr(request.state, "route", None)
    if routed is not None:
        return routed
    path = _sent_path(request)
    return next((each for each in _UNROUTED if path.startswith(each)), "none")


def _sent_path(request: Request) -> str:
    """Return the path, without line feeds and carriage returns."""
    path: str = request.scope["path"]
    # Most have none, nor anything that a URL spells otherwise, which takes long to put together.
    return path if _PLAIN_PATH.fullmatch(path) else request.url.path


def _shown(path: str) -> str:
    """Return a path without what may be a secret in it."""
    if path.startswith(PASSING_PATH):
        return f"{PASSING_PATH}..."
    return _SESSION.sub("/codec/.../", path)
