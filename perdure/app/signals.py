"""What signals do to a process: the first ends it in good order, the next one where it stands."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import structlog

__all__ = ["end_where_it_stands", "stopped_by_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_KILLED_BY = 128
"""What shells add to a signal's number for the exit code of whom it ended."""

log = structlog.get_logger(__name__)


def end_where_it_stands() -> None:
    """Have SIGTERM end this process at once, as long as nothing else is made of it.

    That is what it does by itself, but not to the first process of a container: to that one the
    kernel delivers only what it has asked for, and whoever stops it would wait and then kill it.
    """

    def end(number: int, _: FrameType | None) -> None:
        os._exit(_KILLED_BY + number)

    signal.signal(signal.SIGTERM, end)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have SIGTERM and SIGINT end this process for as long as the context is open.

    Nothing is lost by the second one: what is under way in Temporal is done elsewhere, as when the
    process is killed. Whoever waits for an answer gets none. After the context they do again what
    they did before it.

    Args:
        stop: Begins to end the process; called once, in the running event loop.
    """
    told = False

    def on_signal(number: signal.Signals) -> None:
        nonlocal told
        if told:
            log.warning("stopped_at_once", signal=number.name)
            sys.stdout.flush()
            os._exit(_KILLED_BY + number)
        told = True
        stop()

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, partial(on_signal, number))
    try:
        yield
    finally:
        for number in _SIGNALS:
            # This leaves it to the kernel, which does nothing to the first process of a container.
            loop.remove_signal_handler(number)
            signal.signal(number, before[number] or signal.SIG_DFL)
