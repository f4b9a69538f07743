"""A request of somebody who is signed in: what they may see, and how it is shown."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response, StreamingResponse

from api.dashboard.calls import Api, RefusedError
from api.dashboard.rendering import HEADERS, Page, render, render_live
from api.dashboard.session import Session, session_of
from api.dependencies import Dependencies
from perdure.errors import PerdureError

__all__ = [
    "Build",
    "Form",
    "SignedOutError",
    "StrangeFormError",
    "Visit",
    "Visitor",
    "Word",
    "is_own",
    "sentence_of",
]

Build: TypeAlias = Callable[[], Awaitable[Page]]
"""Looks at what a page shows."""

Form: TypeAlias = Mapping[str, str]
"""What a form sends."""

Word: TypeAlias = tuple[str, str]
"""What people are told after they did something: `done` or `failed`, and a sentence."""

_SAID = "perdure_said"
_SAID_SECONDS = 30
_MOST_FIELDS = 500
# How often an open page looks for changes: while something is under way, and else.
_BUSY_SECONDS, _IDLE_SECONDS = 1.0, 3.0
# After a look that took long it rests longer, so that an open page costs a sixth of a core at most.
_RESTS = 5
_STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class SignedOutError(PerdureError):
    """Nobody is signed in."""


class StrangeFormError(PerdureError):
    """A form that was not sent by a page of this session."""


class Visit:
    """Somebody who is signed in, asking for something.

    Attributes:
        api: The API, with their key.
    """

    def __init__(self, request: Request, session: Session) -> None:
        self._request = request
        self._session = session
        self.api = Api(request.app.state.api, request.scope, session.key)

    @property
    def query(self) -> Mapping[str, str]:
        """The query of the address."""
        return self._request.query_params

    async def show(self, build: Build) -> Response:
        """Show a page, or keep one that is shown true for as long as it is open.

        Args:
            build: Looks at what it shows; it is asked again and again while the page is open.
        """
        if "text/event-stream" in self._request.headers.get("accept", ""):
            return StreamingResponse(
                self._changes(build), media_type="text/event-stream", headers=_STREAM_HEADERS
            )
        page = await build()
        said = _said(self._request)
        html = render(page, {**self._common(), "said": said})
        response = HTMLResponse(html, page.status, headers=HEADERS)
        if said is not None:
            response.delete_cookie(_SAID, path="/dashboard")
        return response

    async def form(self) -> Form:
        """Return what a form sends.

        Raises:
            StrangeFormError: It is none of this session's.
        """
        body = await self._request.body()
        try:
            fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except (UnicodeDecodeError, ValueError) as error:
            msg = "The form could not be read."
            raise StrangeFormError(msg) from error
        sent = dict(fields)
        if not is_own(self._request) or not self._session.owns(sent.pop("token", "")):
            msg = "This form is of another session; go back, load the page again and repeat it."
            raise StrangeFormError(msg)
        return sent

    async def do(self, act: Awaitable[object], *, to: str, done: str) -> Response:
        """Have something done, then show a page that says how it went.

        Args:
            act: What is done.
            to: Address of the page.
            done: What people are told when it went well.
        """
        try:
            await act
        except RefusedError as refusal:
            return self.refused(refusal, to)
        return self.go(to, ("done", done))

    def refused(self, refusal: RefusedError, to: str) -> Response:
        """Go on to a page that says why something was not done.

        Raises:
            RefusedError: The key opens nothing any more.
        """
        if refusal.status == 401:
            raise refusal
        return self.go(to, ("failed", sentence_of(refusal)))

    async def show_once(self, page: Page) -> Response:
        """Show what a form made, which is not to be had again."""
        return HTMLResponse(
            render(page, {**self._common(), "said": None}), page.status, headers=HEADERS
        )

    def go(self, to: str, word: Word | None = None) -> Response:
        """Go on to a page, and tell something there."""
        response = RedirectResponse(to, status_code=303, headers={"cache-control": "no-store"})
        if word is not None:
            value = base64.urlsafe_b64encode(json.dumps(word).encode()).decode()
            response.set_cookie(
                _SAID, value, max_age=_SAID_SECONDS, path="/dashboard", httponly=True,
                samesite="strict",
            )  # fmt: skip
        return response

    def _common(self) -> dict[str, Any]:
        return {"token": self._session.token, "path": self._request.url.path, "query": self.query}

    async def _changes(self, build: Build) -> AsyncIterator[str]:
        """Yield the page's live part whenever it has changed, as server-sent events."""
        stopping: asyncio.Event = self._request.app.state.api.state.stopping
        before = self._request.headers.get("last-event-id", "")
        yield "retry: 1000\n\n"
        while not stopping.is_set():
            pause = _IDLE_SECONDS
            began = time.monotonic()
            try:
                page = await build()
                pause = _BUSY_SECONDS if page.is_busy else _IDLE_SECONDS
                html = render_live(page, self._common())
                digest = hashlib.sha256(html.encode()).hexdigest()[:16]
                if digest != before:
                    before = digest
                    yield _event(digest, html)
                else:
                    yield ": as before\n\n"
            except RefusedError as refusal:
                if refusal.status in (401, 403, 404):
                    # What was shown is gone, or not to be seen any more: the page says so itself.
                    yield "event: gone\ndata:\n\n"
                    return
                yield ": not to be had at present\n\n"
            await _pause(stopping, max(pause, _RESTS * (time.monotonic() - began)))


def _event(name: str, html: str) -> str:
    lines = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"id: {name}\n{lines}\n"


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


def sentence_of(refusal: RefusedError) -> str:
    """Return why something was refused, field by field where that is known."""
    parts = (
        f"{'.'.join(map(str, error.get('path', ())))}: {error.get('message')}"
        for error in refusal.errors
    )
    return "; ".join(parts) or refusal.message


def _said(request: Request) -> Word | None:
    try:
        kind, text = json.loads(base64.urlsafe_b64decode(request.cookies.get(_SAID, "")))
    except (TypeError, ValueError):
        return None
    return ("done" if kind == "done" else "failed", str(text))


def is_own(request: Request) -> bool:
    """Say whether a form comes from a page of ours, where the browser says."""
    origin = request.headers.get("origin")
    if origin is None:
        return True
    deps: Dependencies = request.app.state.dependencies
    # A proxy may call us by another name than browsers do.
    ours = {request.headers.get("host"), urlsplit(deps.settings.server_url or "").netloc}
    return urlsplit(origin).netloc in ours - {"", None}


def _visit(request: Request) -> Visit:
    deps: Dependencies = request.app.state.dependencies
    session = session_of(request, deps.keyring)
    if session is None:
        query = f"?{request.url.query}" if request.url.query else ""
        # A form is not sent again by itself; its page is not known here.
        place = f"{request.url.path}{query}" if request.method == "GET" else ""
        raise SignedOutError(quote(place, safe=""))
    return Visit(request, session)


Visitor = Annotated[Visit, Depends(_visit)]
"""Whoever is signed in; others are asked to."""
