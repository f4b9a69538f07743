"""Lets a call pass through: the caller's body out, the provider's answer back, piece by piece.

Nothing is read faster than it can be passed on. A caller who hangs up ends the call with the
provider; a provider whose answer breaks off ends it with the caller, who can tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import ApiError
from api.proxy_calls import Proxied
from perdure.errors import UpstreamError
from perdure.proxy.headers import passed_back
from perdure.proxy.streaming import StreamedAnswer

__all__ = ["CallerPieces", "Limits", "PassedAnswer"]

log = structlog.get_logger(__name__)

_LAST_STATUS = 599


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a call.

    Attributes:
        silence: Seconds that either side may be silent.
        whole: Seconds for all of it.
        max_bytes: Size of the largest answer.
    """

    silence: float
    whole: float
    max_bytes: int


class CallerGone(Exception):  # noqa: N818 it is no error
    """The caller hung up."""


class CallerPieces:
    """The pieces of a caller's body, and word of the caller hanging up.

    Args:
        receive: Of the server.
        patience: Seconds between two pieces.
    """

    def __init__(self, receive: Receive, patience: float) -> None:
        self._receive = receive
        self._patience = patience
        self._is_over = False
        self._may_watch = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Begin where it was left off."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Raises:
            CallerGone: There is none, and nobody waits for an answer.
            ApiError: It did not come in time.
        """
        while not self._is_over:
            try:
                async with asyncio.timeout(self._patience):
                    message = await self._receive()
            except TimeoutError as error:
                msg = f"No more of the body came within {self._patience:g} s."
                raise ApiError(408, "request_timeout", msg) from error
            if message["type"] == "http.disconnect":
                raise CallerGone
            if not message.get("more_body", False):
                self._is_over = True
                self.leave()
            if body := message.get("body"):
                return bytes(body)
        raise StopAsyncIteration

    def leave(self) -> None:
        """Say that no piece is wanted any more."""
        self._may_watch.set()

    async def until_gone(self) -> None:
        """Wait until the caller hangs up, which shows only once all of the body is there."""
        await self._may_watch.wait()
        # A body that is too large is of no use to anybody either.
        with suppress(HTTPException):
            while (await self._receive())["type"] != "http.disconnect":
                pass


Begin: TypeAlias = Callable[[CallerPieces], AbstractAsyncContextManager[Proxied]]
"""Begins a call with the pieces of its body."""


class PassedAnswer(Response):
    """The answer of a call that begins when this is sent.

    Args:
        begin: Begins the call.
        has_body: Whether the caller sends a body.
        limits: Of the call.
    """

    def __init__(self, begin: Begin, *, has_body: bool, limits: Limits) -> None:
        super().__init__()
        self._begin = begin
        self._caller_sends = has_body
        self._limits = limits
        self._has_begun = self._is_complete = False

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Make the call and pass its answer on.

        Raises:
            UpstreamError: There was no answer.
            InvalidInputError: The call cannot be made.
        """
        pieces = CallerPieces(receive, self._limits.silence)
        if not self._caller_sends:
            pieces.leave()
        call = asyncio.ensure_future(self._call(pieces, send))
        gone = asyncio.ensure_future(pieces.until_gone())
        try:
            await asyncio.wait({call, gone}, return_when=asyncio.FIRST_COMPLETED)
            if call.done() or self._is_complete:
                await call
            else:
                log.info("proxy_caller_gone")
        except CallerGone:
            log.info("proxy_caller_gone")
        finally:
            for task in (call, gone):
                task.cancel()
            await asyncio.gather(call, gone, return_exceptions=True)

    async def _call(self, pieces: CallerPieces, send: Send) -> None:
        try:
            async with asyncio.timeout(self._limits.whole), self._begin(pieces) as proxied:
                # The provider may have answered before it has all of the body: what is still to
                # come is the provider's, and tells of a caller who hangs up.
                await self._pass_on(proxied, send)
        except (UpstreamError, TimeoutError) as error:
            if self._has_begun:
                # Without its end the answer is not taken for a complete one.
                reason = error.code if isinstance(error, UpstreamError) else "too_slow"
                log.warning("proxied_answer_broke_off", reason=reason)
            elif isinstance(error, UpstreamError):
                raise
            else:
                msg = f"There was no answer within {self._limits.whole:g} s."
                raise UpstreamError(msg, code="script_network_error") from error

    async def _pass_on(self, proxied: Proxied, send: Send) -> None:
        answer = proxied.answer
        self._check(answer)
        headers = passed_back(answer.raw_headers, answer.headers, decompressed=proxied.decompress)
        self._has_begun = True
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        size = 0
        async with aclosing(answer.pieces(decompress=proxied.decompress)) as pieces:
            async for piece in pieces:
                size += len(piece)
                if size > self._limits.max_bytes:
                    raise _too_large(self._limits.max_bytes)
                async with asyncio.timeout(self._limits.silence):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        self._is_complete = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _check(self, answer: StreamedAnswer) -> None:
        announced = answer.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limits.max_bytes:
            raise _too_large(self._limits.max_bytes)
        if answer.status > _LAST_STATUS:
            msg = f"The provider answered with {answer.status}, which is no status of HTTP."
            raise UpstreamError(msg, code="unexpected_response", status=answer.status)


def _too_large(limit: int) -> UpstreamError:
    msg = f"The provider's answer is larger than {limit // 1024 // 1024} MB."
    return UpstreamError(msg, code="response_too_large")
