"""How a process takes and gives back memory: by default, too often for what ours do.

A page is megabytes of JSON that live for a moment, and thousands of objects that refer to each
other in no circle.
"""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["keep_what_is_freed", "look_for_garbage_rarely"]

# New objects, less those that are gone, after which circles are looked for among them.
_GARBAGE = 20_000

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_MOST_KEPT = 64 * 1024 * 1024
# The most that glibc's manual allows.
_ON_THE_HEAP = 32 * 1024 * 1024
# Threads with an arena each would keep as much each; nearly all of ours wait for one lock anyway.
_ARENAS = 2


def look_for_garbage_rarely() -> None:
    """Keep the garbage collector from going through all pages and all code again and again.

    With Python's own thresholds looking for circles took a fifth of a bulk read's processor time.
    What is loaded already is never looked through again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 50)


def keep_what_is_freed() -> None:
    """Have freed memory used again instead of given back to the system, up to twice 64 MiB of it.

    What is taken from the system has to be made ready page by page, which cost a loop over large
    pages a tenth of its processor time. Whoever has set glibc's allocator by the environment has
    what was set, and other C libraries are left as they are.
    """
    if sys.platform != "linux" or any(map(_sets_malloc, os.environ)):
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Setting one of the two ends that glibc adapts both: without the first the second does harm.
    if mallopt is not None and mallopt(_M_MMAP_THRESHOLD, _ON_THE_HEAP):
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_M_ARENA_MAX, _ARENAS)


def _sets_malloc(variable: str) -> bool:
    return variable.startswith("MALLOC_") or variable == "GLIBC_TUNABLES"
