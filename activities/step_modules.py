"""The modules of bundles outside of workflows, and the threads that their functions run in."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from activities.bundles import BundleCache
from perdure.ids import BundleHash
from perdure.scripts.bundle import Bundle
from perdure.scripts.execution import modules_for_steps
from perdure.scripts.interruption import InterruptibleCall, StillRunning
from perdure.scripts.loader import ScriptModules

__all__ = ["Lane", "StepModules"]

ResultT = TypeVar("ResultT")

_LOADED_BUNDLES = 32
_MAX_STEPS = 64
_MAX_SHORT_CALLS = 32
# So often, a second apart, one that takes too long is interrupted: it may catch all it is sent.
_INTERRUPTIONS = 5


class Lane:
    """Makes calls one after another, in their order; none waits for the event loop in between.

    Args:
        threads: Where they are made.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._is_busy = False

    def submit(self, call: Callable[[], ResultT]) -> Future[ResultT]:
        """Have a call made; what is cancelled before its turn never is."""
        future: Future[ResultT] = Future()
        with self._lock:
            self._waiting.append((future, call))
            begins, self._is_busy = not self._is_busy, True
        if begins:
            self._threads.submit(self._make_next)
        return future

    def _make_next(self) -> None:
        with self._lock:
            future, call = self._waiting.popleft()
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            future.set_exception(error)
        finally:
            with self._lock:
                self._is_busy = bool(self._waiting)
            if self._is_busy:
                self._threads.submit(self._make_next)


class StepModules:
    """Functions of scripts, each call in a thread of its own, so that none can block the worker.

    Args:
        bundles: Where the scripts come from.
    """

    def __init__(self, bundles: BundleCache) -> None:
        self._bundles = bundles
        self._loaded: OrderedDict[str, ScriptModules] = OrderedDict()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_MAX_STEPS, thread_name_prefix="perdure-step")
        # Apart, so that steps which take hours keep no page waiting.
        self._short = ThreadPoolExecutor(_MAX_SHORT_CALLS, thread_name_prefix="perdure-page")
        self._endings: set[asyncio.Task[None]] = set()

    async def bundle(self, bundle_hash: str) -> Bundle:
        """Return a bundle.

        Raises:
            NotFoundError: `unknown_bundle`.
        """
        stored = await self._bundles.get(BundleHash(bundle_hash))
        return Bundle(stored.hash, stored.files)

    async def in_thread(self, call: Callable[[], ResultT]) -> ResultT:
        """Call something in a thread and return what it returns."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def lane(self) -> Lane:
        """Return what makes calls of `within` one after another, in their order."""
        return Lane(self._short)

    async def within(
        self,
        limit: float,
        call: Callable[[], ResultT],
        *,
        lane: Lane | None = None,
    ) -> ResultT:
        """Call something in a thread that must come back soon.

        Args:
            limit: Seconds after which it is interrupted.
            call: Runs code of a script.
            lane: Behind whose calls it is made. Default: behind nobody's.

        Raises:
            ScriptBlocked: It was interrupted, and did not make anything else of that.
            StillRunning: It goes on all the same.
        """
        interruptible = InterruptibleCall(call)
        thread = (lane or self._short).submit(interruptible)
        running = asyncio.wrap_future(thread)
        try:
            # The limit is for the call, not for the time in which it waits for a thread.
            while not running.done() and (left := limit - interruptible.seconds) > 0:
                await asyncio.wait((running,), timeout=left)
            await _interrupted(interruptible, running)
        except asyncio.CancelledError:
            # Nobody waits for it any more; it must not hold its thread for good all the same.
            if not thread.cancel():
                ending = asyncio.create_task(_interrupted(interruptible, running))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)
            raise
        if not running.done():
            raise StillRunning(interruptible.where())
        return running.result()

    def function(self, bundle: Bundle, path: str, name: str) -> Callable[..., Any]:
        """Return a function of a bundle; call it in a thread, since its file may be executed.

        Args:
            bundle: The bundle.
            path: File of the function.
            name: Its qualified name there.

        Raises:
            AttributeError: The file has no such function.
            Exception: Whatever the file raises when it is executed.
        """
        return self._modules(bundle).function(path, name)

    def _modules(self, bundle: Bundle) -> ScriptModules:
        with self._lock:
            modules = self._loaded.get(bundle.hash)
            if modules is None:
                modules = self._loaded[bundle.hash] = modules_for_steps(bundle)
                if len(self._loaded) > _LOADED_BUNDLES:
                    self._loaded.popitem(last=False)
            return modules


async def _interrupted(call: InterruptibleCall[Any], running: asyncio.Future[Any]) -> None:
    """Interrupt a call that does not end, as often as that is tried."""
    for _ in range(_INTERRUPTIONS):
        if running.done():
            break
        call.interrupt()
        await asyncio.wait((running,), timeout=1)
    if running.done() and not running.cancelled():
        # Whoever waits looks at it; where nobody does, it is no news either.
        running.exception()
