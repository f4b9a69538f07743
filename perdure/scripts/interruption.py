"""Calls of a script's functions in threads, which are interrupted where they do not come back."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from perdure.scripts.loader import bundle_file, is_script_file

__all__ = ["InterruptibleCall", "ScriptBlocked", "StillRunning"]

ResultT = TypeVar("ResultT")


class ScriptBlocked(BaseException):
    """Raised inside of a function that has taken too long; no `except Exception` swallows it."""

    def __init__(self) -> None:
        super().__init__("it did not come to an end in time and was interrupted")


class StillRunning(Exception):  # noqa: N818 - as above
    """A call could not be interrupted either, and holds its thread for good.

    Attributes:
        where: `file:line` of the script, None where nobody knows.
    """

    def __init__(self, where: str | None) -> None:
        super().__init__(where)
        self.where = where


class InterruptibleCall(Generic[ResultT]):
    """A call that another thread can interrupt while it runs.

    Args:
        call: Runs code of a script.
    """

    def __init__(self, call: Callable[[], ResultT]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """For how long it has run; 0 until a thread takes it on."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def __call__(self) -> ResultT:
        """Make the call, in the thread that takes it on."""
        self._thread = threading.get_ident()
        self._began = time.monotonic()
        try:
            return self._call()
        finally:
            # From here on the thread does other things.
            with self._lock:
                self._thread = None

    def interrupt(self) -> None:
        """Raise `ScriptBlocked` in it; what waits in C hears of it when that returns."""
        with self._lock:
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(ScriptBlocked)
                )

    def where(self) -> str | None:
        """Return `file:line` of the script that it is at."""
        with self._lock:
            frame = sys._current_frames().get(self._thread or 0)
        while frame is not None:
            if is_script_file(frame.f_code.co_filename):
                return f"{bundle_file(frame.f_code.co_filename)}:{frame.f_lineno}"
            frame = frame.f_back
        return None
