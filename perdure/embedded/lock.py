"""One instance at a time in a folder.

The lock is an advisory file lock whose descriptor is inherited by every process of the instance,
so it is free only when the last of them is gone: whoever holds it can be sure that no process of
an earlier instance still writes into the folder.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from perdure.errors import StartupError

__all__ = ["FolderLock", "lock_folder"]

_FILE = "lock"
_GRACE = 1.0
"""Seconds a holder may still look alive: the guard needs a moment to notice that it was killed."""


@dataclass(frozen=True, slots=True)
class FolderLock:
    """A lock that is held.

    Attributes:
        fd: Descriptor that children inherit.
    """

    fd: int

    def announce_end(self) -> None:
        """Tell the next instance that it need not wait long."""
        os.ftruncate(self.fd, 0)


@asynccontextmanager
async def lock_folder(folder: Path, *, patience: float = 10.0) -> AsyncIterator[FolderLock]:
    """Hold the lock of a folder.

    Args:
        folder: The folder; created when missing, then for its owner only.
        patience: Seconds to wait for the children of an instance that is ending.

    Raises:
        StartupError: Another instance is at work in the folder, or it is not ours to use.
    """
    fd = _open(folder)
    try:
        await _acquire(fd, folder, patience)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield FolderLock(fd)
    finally:
        os.close(fd)


def _open(folder: Path) -> int:
    try:
        # Root's folder may be passed through, for Postgres may run under another account. What
        # lies in it is for its owner alone.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        return os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        message = f"the folder {folder} cannot be used: {error.strerror}"
        raise StartupError(message, code="folder_unusable") from error


async def _acquire(fd: int, folder: Path, patience: float) -> None:
    started = time.monotonic()
    while not _try_lock(fd):
        waited = time.monotonic() - started
        holder = _holder(fd)
        if holder is not None and waited > _GRACE:
            message = (
                f"the folder {folder} is in use by process {holder}; "
                "end that process or choose another folder"
            )
            raise StartupError(message, code="folder_locked")
        if waited > patience:
            message = (
                f"the folder {folder} is still held by processes of an instance that ended; "
                "try again in a moment"
            )
            raise StartupError(message, code="folder_locked")
        await asyncio.sleep(0.05)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}:
            raise
        return False
    return True


def _holder(fd: int) -> int | None:
    """Return the pid of the living instance that holds the lock, None when it is ending."""
    written = os.pread(fd, 32, 0)
    if not written.isdigit():
        return None
    try:
        os.kill(int(written), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, under another account
    return int(written)
