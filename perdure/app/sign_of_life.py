"""A file that a worker touches again and again, so that whoever watches it knows that it lives.

A worker has no port to ask. What touches the file is its event loop: a loop that hangs, as behind
C code that keeps the interpreter's lock, lets the file grow old. Whether Temporal or Postgres
answer does not show here; another worker would not reach them either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from perdure.errors import StartupError

__all__ = ["is_alive", "signs_of_life"]

_EVERY = 5.0
_OLDEST = 30.0
"""Seconds; a machine that is busy with other things may miss some beats."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def signs_of_life(file: Path | None) -> AsyncIterator[None]:
    """Touch a file now and every few seconds until the context ends, then remove it.

    Args:
        file: None to do nothing.

    Raises:
        StartupError: `ready_file_unwritable`.
    """
    if file is None:
        yield
        return
    try:
        _touch(file)
    except OSError as error:
        msg = f"Cannot write {file} (PERDURE_READY_FILE): {error.strerror or error}"
        raise StartupError(msg, code="ready_file_unwritable") from error
    beating = asyncio.create_task(_beat(file))
    try:
        yield
    finally:
        beating.cancel()
        _remove(file)


def is_alive(file: Path) -> bool:
    """Say whether a file was touched a moment ago."""
    try:
        return time.time() - file.stat().st_mtime < _OLDEST
    except FileNotFoundError:
        return False


async def _beat(file: Path) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        try:
            _touch(file)
        except OSError as error:
            # The next one may come about: a full disk gets room again.
            log.warning("sign_of_life_failed", file=str(file), reason=error.strerror)


# On the loop itself and not in a thread: threads would go on where the loop hangs.
def _touch(file: Path) -> None:
    file.touch()


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
