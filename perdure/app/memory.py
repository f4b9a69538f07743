"""How a process takes and gives back memory: by default, far too often for what ours do.

A page is megabytes of JSON that live for a moment, and thousands of objects that refer to each
other in no circle.
"""

from __future__ import annotations

import ctypes
import gc

__all__ = ["keep_what_is_freed", "look_for_garbage_rarely"]

# New objects, less those that are gone, after which circles are looked for among them.
_GARBAGE = 20_000

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MOST_KEPT = 64 * 1024 * 1024
# The most that glibc takes.
_ON_THE_HEAP = 32 * 1024 * 1024


def look_for_garbage_rarely() -> None:
    """Keep the garbage collector from going through all pages and all code again and again.

    With Python's own thresholds looking for circles took a fifth of a bulk read's processor time.
    What is loaded already is never looked through again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 50)


def keep_what_is_freed() -> None:
    """Have freed memory used again instead of given back to the system, up to 64 MiB of it.

    What glibc takes from the system has to be made ready page by page, which for an answer of some
    megabytes took longer than to send it. Other C libraries have no such setting, and are left as
    they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_M_MMAP_THRESHOLD, _ON_THE_HEAP)
