"""Puts the dashboard together: an application below `/dashboard` of the API."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.dashboard.calls import RefusedError
from api.dashboard.pages import (
    actions,
    assets,
    connections,
    deployments,
    integrations,
    logs,
    overview,
    records,
    runs,
    settings,
    sign_in,
    syncs,
    webhooks,
)
from api.dashboard.rendering import HEADERS, Page, render
from api.dashboard.session import end_session
from api.dashboard.visit import SignedOutError, StrangeFormError
from api.rate_limit import RateLimit
from api.requests import NO_TELEMETRY

__all__ = ["create_dashboard"]

log = structlog.get_logger(__name__)

_PAGES = (
    sign_in,
    assets,
    overview,
    integrations,
    connections,
    syncs,
    runs,
    logs,
    records,
    actions,
    webhooks,
    deployments,
    settings,
)
# Guesses of a key that an address may make in a minute.
_SIGN_INS = 20


def create_dashboard(api: FastAPI) -> FastAPI:
    """Return the dashboard of an API; whoever calls mounts it at `/dashboard`."""
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=NO_TELEMETRY)
    app.state.api = api
    app.state.dependencies = api.state.dependencies
    app.state.sign_ins = RateLimit(_SIGN_INS)
    app.add_exception_handler(SignedOutError, _ask_to_sign_in)
    app.add_exception_handler(RefusedError, _show_refusal)
    app.add_exception_handler(StrangeFormError, _show_strange_form)
    app.add_exception_handler(RequestValidationError, _show_missing)
    app.add_exception_handler(HTTPException, _show_missing)
    app.add_middleware(_ShowFaults)
    for module in _PAGES:
        app.include_router(module.router)
    return app


async def _ask_to_sign_in(request: Request, error: Exception) -> Response:
    if "text/event-stream" in request.headers.get("accept", ""):
        return Response(status_code=204)  # which tells a browser not to connect again
    asked = f"?next={error}" if str(error) else ""
    return RedirectResponse(f"/dashboard/sign-in{asked}", 303)


async def _show_refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedError):
        raise error
    if error.status == 401:
        response: Response = RedirectResponse("/dashboard/sign-in", 303)
        end_session(response)
        return response
    return _failure(request, error.status, error.message)


async def _show_strange_form(request: Request, error: Exception) -> Response:
    return _failure(request, 403, str(error))


async def _show_missing(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return _failure(request, status, "There is no such page.")


class _ShowFaults:
    """Answers what is unexpected with a page, and logs it once, under the id that the page tells.

    A handler of the application would do neither: the error goes on to the server from there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted_send)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            log.error("request_failed", exc_info=error)
            request = Request(scope)
            message = "The server made a mistake; its log tells more under the id {}."
            page = _failure(request, 500, message.format(request.state.request_id))
            await page(scope, receive, send)


def _failure(request: Request, status: int, message: str) -> Response:
    page = Page("failure.html", "Not found" if status == 404 else "Not done")
    common = {
        "message": message,
        "status": status,
        "path": request.url.path,
        "query": {},
        "token": "",
        "said": None,
    }
    return HTMLResponse(render(page, common), status, headers=HEADERS)
