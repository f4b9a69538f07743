"""Signing in with an API key, and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from api.access import Gate
from api.dashboard.rendering import HEADERS, Page, render
from api.dashboard.session import begin_session, end_session
from api.dashboard.tickets import key_of_ticket
from api.dashboard.visit import Visitor, is_own
from api.dependencies import Dependencies, Deps
from api.rate_limit import RateLimit
from perdure.errors import UnauthorizedError

__all__ = ["router"]

router = APIRouter()

Next = Annotated[str, Query(alias="next", max_length=2000)]
Ticket = Annotated[str | None, Query(max_length=2000)]


@router.get("/sign-in")
async def show_sign_in(
    request: Request, deps: Deps, following: Next = "", ticket: Ticket = None
) -> Response:
    """Ask for a key, unless a ticket stands for one."""
    key = None if ticket is None else key_of_ticket(deps.keyring, ticket)
    if key is None:
        return _form(following)
    response = RedirectResponse(_own_page(following), 303, HEADERS)
    begin_session(response, request, deps, key)
    return response


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session with a key that opens an environment."""
    limit: RateLimit = request.app.state.sign_ins
    address = request.client.host if request.client else ""
    usage = limit.count(address.encode())
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    following = fields.get("next", [""])[0]
    if not is_own(request):
        return _form(following, "This form came from another site; sign in here.", 403)
    if usage.exceeded:
        wait = usage.headers["retry-after"]
        return _form(following, f"Too many attempts; try again in {wait} seconds.", 429)
    key = fields.get("key", [""])[0].strip()
    gate: Gate = request.app.state.api.state.gate
    deps: Dependencies = request.app.state.dependencies
    try:
        await gate.open(key)
    except UnauthorizedError:
        return _form(following, "No environment of this server has this key.", 401)
    response = RedirectResponse(_own_page(following), 303)
    begin_session(response, request, deps, key)
    return response


@router.post("/sign-out")
async def sign_out(visit: Visitor) -> Response:
    """End the session."""
    await visit.form()
    response = RedirectResponse("/dashboard/sign-in", 303)
    end_session(response)
    return response


def _form(following: str, error: str | None = None, status: int = 200) -> Response:
    page = Page("sign_in.html", "Sign in")
    html = render(page, {"following": following, "error": error})
    return HTMLResponse(html, status, headers=HEADERS)


def _own_page(path: str) -> str:
    """Return the page that was asked for, never one of another site."""
    return path if path.startswith("/dashboard/") and "\\" not in path else "/dashboard/"
