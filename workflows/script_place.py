"""Where in its script a run asked for a step, for people who read what it did."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from perdure.scripts.loader import bundle_file, is_script_file

__all__ = ["asked_from", "place_in_script", "place_of_step"]

_place: ContextVar[str | None] = ContextVar("place_in_script", default=None)


def place_in_script() -> str | None:
    """Return `file:line` of the script that is calling, None where none is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_script_file(frame.f_code.co_filename):
            return f"{bundle_file(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def place_of_step() -> str | None:
    """Return where the step that is being asked for was asked for."""
    return place_in_script() or _place.get()


@contextmanager
def asked_from(place: str | None) -> Iterator[None]:
    """Say where the steps inside were asked for, which the script is not waiting for itself."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)
