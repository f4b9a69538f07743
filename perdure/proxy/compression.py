"""Decompresses bodies while they arrive, in pieces of a bounded size.

A few bytes can unfold to a thousand times as many: no step here makes more than one piece of
them, so that whoever counts the pieces can stop in time. A body that ends too early is an error,
never a shorter body.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

__all__ = ["DecompressionError", "decompressed", "encoding_of", "is_decompressible"]

_PIECE = 65_536
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_MAGIC_SIZE = len(_GZIP_MAGIC)
_DEFLATE = 8
_DECOMPRESSIBLE = frozenset({"gzip", "x-gzip", "deflate"})


class DecompressionError(Exception):
    """A compressed body is damaged, or ends too early."""


def encoding_of(content_encoding: str | None) -> str:
    """Return what a `content-encoding` header says, empty if the body is not compressed."""
    named = (part.strip().lower() for part in (content_encoding or "").split(","))
    return ", ".join(part for part in named if part not in {"", "identity"})


def is_decompressible(encoding: str) -> bool:
    """Return whether `decompressed` can read an encoding; nested ones it does not read."""
    return encoding in _DECOMPRESSIBLE


async def decompressed(pieces: AsyncIterator[bytes], encoding: str) -> AsyncGenerator[bytes, None]:
    """Decompress a body.

    Args:
        pieces: The body as it came.
        encoding: As `encoding_of` returned it. What cannot be decompressed comes as it is.

    Raises:
        DecompressionError: If the body is damaged or incomplete.
    """
    if not is_decompressible(encoding):
        async for piece in pieces:
            yield piece
        return
    inflater = _Inflater(encoding)
    async for piece in pieces:
        for plain in inflater.feed(piece):
            yield plain
    inflater.end()


class _Inflater:
    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding != "deflate"
        self._engine: zlib._Decompress | None = None
        self._held = b""
        self._members = 0
        self._is_padding = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return what some more of the body unfolds to."""
        data, self._held = self._held + data, b""
        while data and not self._is_padding:
            if self._engine is None:
                if len(data) < _MAGIC_SIZE:
                    self._held = data
                    return
                self._begin(data)
            else:
                data = yield from self._inflate(self._engine, data)

    def end(self) -> None:
        """Say that this was all of the body; nothing at all is fine, as the answer to HEAD."""
        if self._engine is not None or (self._held and not self._members):
            raise DecompressionError("its compressed body ends too early")

    def _begin(self, data: bytes) -> None:
        if self._members and not (self._is_gzip and data.startswith(_GZIP_MAGIC)):
            self._is_padding = True
        else:
            self._engine = zlib.decompressobj(_GZIP if self._is_gzip else _window(data))

    def _inflate(self, engine: zlib._Decompress, data: bytes) -> Generator[bytes, None, bytes]:
        """Return what is left of `data` behind a member's end."""
        while True:
            try:
                plain = engine.decompress(data, _PIECE)
            except zlib.error as error:
                raise DecompressionError("its compressed body is damaged") from error
            data = engine.unconsumed_tail
            if plain:
                yield plain
            if engine.eof:
                self._members += 1
                self._engine = None
                return engine.unused_data
            if not data and len(plain) < _PIECE:
                return b""


def _window(data: bytes) -> int:
    # Some servers leave the header of the format out, which its first two bytes show.
    has_header = data[0] & 0x0F == _DEFLATE and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
