"""Refuses what a script may not do as workflow code, at once and with a remedy.

The SDK's sandbox restricts what a script imports from the standard library. It does not see what
installed packages do below, so an audit hook of the interpreter watches the events that mean
files, network, processes, threads and blocking sleeps, and refuses them where a script's frame
is on the stack of a workflow's thread.
"""

from __future__ import annotations

import mimetypes
import sys
import threading
import traceback
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from temporalio import workflow
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

from perdure.scripts.loader import is_script_file

__all__ = ["ForbiddenInScriptError", "allowed", "install", "remedy", "used_by_script"]

_EVENTS = frozenset(
    {
        "_thread.start_new_thread",
        "open",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.listdir",
        "os.mkdir",
        "os.posix_spawn",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.system",
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "subprocess.Popen",
        "time.sleep",
    }
)

# Reading source for an import, a traceback or a warning is the interpreter's business.
_INTERPRETER_FILES = ("<frozen importlib", "linecache.py", "tokenize.py")

_REMEDIES = (
    (
        (
            *("aiohttp.", "httpx.", "requests.", "urllib3.", "httpcore."),
            *("socket.", "http.", "urllib.", "ssl.", "select"),
        ),
        "Use `await nango.get(...)` and its siblings for the connection's API",
    ),
    (
        (
            "threading",
            "_thread",
            "concurrent",
            "multiprocessing",
            "subprocess",
            "asyncio.to_thread",
        ),
        "Use `asyncio.gather` for concurrent helper calls",
    ),
    (("time.sleep",), "Use `await asyncio.sleep(seconds)`, a durable timer"),
    (("os.environ", "os.getenv"), "Pass it in by the connection's metadata"),
    (
        ("random.SystemRandom", "secrets."),
        "Use `random` or `uuid`, which are deterministic in scripts",
    ),
)
_REMEDY_FOR_ALL = (
    "move it into a function of the script and call that as a step: `await nango.run(fn, ...)`"
)

_NOT_THE_CULPRIT = frozenset({"", "perdure", "temporalio", "workflows", *sys.stdlib_module_names})

_INSTALLED = tuple(map(str, (sys.prefix, sys.base_prefix, *zoneinfo.TZPATH, *mimetypes.knownfiles)))

_thread = threading.local()
_installed = threading.Event()


class ForbiddenInScriptError(RestrictedWorkflowAccessError):
    """A script did something that cannot be replayed.

    Attributes:
        qualified_name: What it used, such as `time.sleep` or `socket.connect`.
    """


def remedy(qualified_name: str) -> str:
    """Return what to use instead, as the end of an error message."""
    for prefixes, instead in _REMEDIES:
        if qualified_name.startswith(prefixes):
            return f"{instead}, or {_REMEDY_FOR_ALL}."
    return f"{_REMEDY_FOR_ALL[0].upper()}{_REMEDY_FOR_ALL[1:]}."


@contextmanager
def allowed() -> Iterator[None]:
    """Let the engine's own work on a script's thread (imports, loading) touch the world."""
    before = getattr(_thread, "allowed", False)
    _thread.allowed = True
    try:
        yield
    finally:
        _thread.allowed = before


def install() -> None:
    """Install the audit hook, once per process. It cannot be removed again."""
    if not _installed.is_set():
        _installed.set()
        sys.addaudithook(_audit)


def _audit(event: str, args: tuple[object, ...]) -> None:
    if event not in _EVENTS or not workflow.unsafe.in_sandbox():
        return
    if event == "open" and _is_installed_data(*args[:2]):
        return
    if not getattr(_thread, "allowed", False) and _script_is_calling(sys._getframe(1)):
        raise ForbiddenInScriptError(event)


def _is_installed_data(path: object, mode: object) -> bool:
    """Whether a file is read that came with the interpreter or a package, such as a time zone.

    That is data, not input. Libraries read it once per process, so refusing it would depend on
    what the process did before.
    """
    reading = mode is None or (isinstance(mode, str) and not set(mode) & set("wax+"))
    return reading and isinstance(path, str) and path.startswith(_INSTALLED)


def _script_is_calling(frame: FrameType | None) -> bool:
    while frame is not None:
        filename = frame.f_code.co_filename
        if is_script_file(filename):
            return True
        if filename.startswith(_INTERPRETER_FILES) or filename.endswith(_INTERPRETER_FILES):
            return False
        frame = frame.f_back
    return False


def used_by_script(error: RestrictedWorkflowAccessError) -> str:
    """Return what a script used when it was refused, as the script wrote it.

    Where it called into an installed package that is the package's function, such as
    `httpx.get`, not the file or socket that was opened deep below.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    last = max(
        (i for i, f in enumerate(frames) if is_script_file(f.f_code.co_filename)), default=-1
    )
    if 0 <= last < len(frames) - 1:
        called = frames[last + 1]
        package = str(called.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _NOT_THE_CULPRIT:
            return f"{package}.{called.f_code.co_qualname.removesuffix('.__init__')}"
    return error.qualified_name.removeprefix("__builtins__.")
