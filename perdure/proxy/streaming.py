"""Bodies that pass through without being held: what a caller sends, what a provider answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import IO

from perdure.errors import UpstreamError
from perdure.proxy.bodies import decode_body
from perdure.proxy.compression import (
    DecompressionError,
    decompressed,
    encoding_of,
    is_decompressible,
)
from perdure.proxy.exchange import IncomingResponse, NetworkError
from perdure.proxy.retry import NetworkFailure, Outcome, RetryDecision

__all__ = ["PassingBody", "StreamedAnswer"]

_IN_MEMORY = 1024 * 1024
_PIECE = 65_536
_LOOKED_AT = 65_536


class PassingBody:
    """A body that goes out while it comes in.

    Its first megabyte is remembered, so that smaller ones can go out again: after a redirect, or
    to another address. Close it.

    Args:
        source: What comes in; asked for the next piece only when the one before went out. It must
            bear that waiting for a piece is cancelled.
        content_type: Its `content-type` header.
        length: Bytes in all, None if nobody knows yet.
        keep: Remember what is beyond a megabyte, too, in a file without a name.
    """

    def __init__(
        self,
        source: AsyncIterator[bytes],
        *,
        content_type: str | None,
        length: int | None,
        keep: bool = False,
    ) -> None:
        self.content_type = content_type
        self.length = length
        self.repeatable = True
        self._source = source
        self._keep = keep
        self._memory: list[bytes] = []
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._appending: asyncio.Future[None] | None = None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Begin at the beginning; only one such reading goes on at a time."""
        await self._appended()
        for piece in tuple(self._memory):
            yield piece
        if self._file is not None:
            at = 0
            while piece := await asyncio.to_thread(_read_at, self._file, at):
                at += len(piece)
                yield piece
        async for piece in self._source:
            await self._remember(piece)
            yield piece

    async def aclose(self) -> None:
        """Forget it."""
        self._memory = []
        with suppress(OSError):
            await self._appended()
        if self._file is not None:
            await asyncio.to_thread(self._file.close)

    async def _remember(self, piece: bytes) -> None:
        if not self.repeatable:
            return
        if self._file is None and self._in_memory + len(piece) <= _IN_MEMORY:
            self._memory.append(piece)
            self._in_memory += len(piece)
        elif self._keep:
            self._appending = asyncio.ensure_future(asyncio.to_thread(self._append, piece))
            await self._appended()
        else:
            self.repeatable = False
            self._memory = []

    async def _appended(self) -> None:
        if self._appending is not None:
            # The source has given the piece away: a reading that is cancelled must not lose it.
            await asyncio.shield(self._appending)

    def _append(self, piece: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 closed by `aclose`
        self._file.seek(0, 2)
        self._file.write(piece)


class StreamedAnswer:
    """A provider's answer, as it comes.

    Args:
        incoming: The answer.
        has_body: False for the answer to HEAD, whose headers describe a body that does not come.
        judge: Says what to do about an answer that is not 2xx.
        failed: Makes the error of a body that breaks off.
    """

    def __init__(
        self,
        incoming: IncomingResponse,
        *,
        has_body: bool,
        judge: Callable[[Outcome], RetryDecision],
        failed: Callable[[NetworkError], UpstreamError],
    ) -> None:
        self._incoming = incoming
        self._pieces = incoming.pieces()
        self._seen: list[bytes] = []
        self._judge = judge
        self._failed = failed
        self._has_body = has_body

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._incoming.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name; repeated ones are joined by a comma."""
        return self._incoming.headers

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """As they came, one by one."""
        return self._incoming.raw_headers

    @property
    def can_be_decompressed(self) -> bool:
        """Whether the body is compressed in a way that is understood here."""
        return self._has_body and is_decompressible(self._encoding)

    async def decision(self, *, look_into_body: bool) -> RetryDecision:
        """Return what to do about an answer that is not 2xx.

        Args:
            look_into_body: Whether the provider says in the body how long to wait.

        Raises:
            UpstreamError: If the body breaks off.
        """
        outcome = Outcome(status=self.status, headers=self.headers)
        decision = self._judge(outcome)
        if not (look_into_body and decision.retry):
            return decision
        content = bytearray()
        try:
            async with aclosing(decompressed(self._first(_LOOKED_AT), self._encoding)) as plain:
                async for piece in plain:
                    content += piece
        except DecompressionError:
            # More of it than is looked at, or damaged: it is passed on in any case.
            pass
        body, _ = decode_body(bytes(content), self._incoming.headers)
        return self._judge(Outcome(status=self.status, headers=self.headers, body=body))

    async def pieces(self, *, decompress: bool = False) -> AsyncGenerator[bytes, None]:
        """Return the body as it comes; only once.

        Raises:
            UpstreamError: If it breaks off.
        """
        encoding = self._encoding if decompress and self._has_body else ""
        try:
            async with (
                aclosing(self._all()) as pieces,
                aclosing(decompressed(pieces, encoding)) as plain,
            ):
                async for piece in plain:
                    yield piece
        except DecompressionError as error:
            damaged = NetworkError(NetworkFailure.INTERRUPTED, str(error))
            raise self._failed(damaged) from error

    @property
    def _encoding(self) -> str:
        return encoding_of(self.headers.get("content-encoding"))

    async def _all(self) -> AsyncGenerator[bytes, None]:
        for seen in self._seen:
            yield seen
        async with aclosing(self._pieces):
            while (piece := await self._next()) is not None:
                yield piece

    async def _first(self, size: int) -> AsyncGenerator[bytes, None]:
        seen = 0
        while seen < size and (piece := await self._next()) is not None:
            self._seen.append(piece)
            seen += len(piece)
            yield piece

    async def _next(self) -> bytes | None:
        try:
            return await anext(self._pieces, None)
        except NetworkError as error:
            raise self._failed(error) from error


def _read_at(file: IO[bytes], place: int) -> bytes:
    file.seek(place)
    return file.read(_PIECE)
