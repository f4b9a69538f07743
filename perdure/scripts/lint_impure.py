"""Finds what workflow code may not do: block, or ask the world for what differs at a replay.

The run itself refuses it; this says so before, with the same words. It knows names, not values:
what is called through a variable goes unnoticed here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from perdure.scripts.guard import remedy
from perdure.scripts.lint_findings import Finding, LintCode
from perdure.scripts.lint_source import Unit

__all__ = ["impure_calls"]

_MODULES = frozenset(
    {
        *("aiohttp", "httpcore", "httpx", "requests", "urllib3", "websockets"),
        *("http.client", "urllib.request", "xmlrpc.client", "ftplib", "imaplib", "poplib"),
        *("select", "selectors", "smtplib", "socket", "socketserver", "ssl"),
        *("asyncpg", "boto3", "botocore", "psycopg", "psycopg2", "pymongo", "redis", "sqlite3"),
        *("_thread", "concurrent.futures", "multiprocessing", "subprocess", "threading"),
        *("glob", "shutil", "tempfile"),
        *("numpy.random", "secrets"),
    }
)

_FUNCTIONS = frozenset(
    {
        *("input", "open", "io.open", "time.sleep"),
        *(f"asyncio.{name}" for name in ("create_subprocess_exec", "create_subprocess_shell")),
        *(f"asyncio.{name}" for name in ("open_connection", "run", "start_server", "to_thread")),
        *(f"os.{name}" for name in ("cpu_count", "getenv", "getpid", "popen", "system", "urandom")),
        *(f"os.{name}" for name in ("listdir", "makedirs", "mkdir", "scandir", "stat", "walk")),
        *(f"os.{name}" for name in ("remove", "rename", "replace", "rmdir", "unlink")),
        *(f"os.path.{name}" for name in ("exists", "getmtime", "getsize", "isdir", "isfile")),
        *("pathlib.Path.cwd", "pathlib.Path.home"),
        *("random.SystemRandom", "uuid.getnode"),
        *("arrow.now", "arrow.utcnow", "pendulum.now", "pendulum.today"),
    }
)

_PATH_METHODS = frozenset(
    {
        *("read_bytes", "read_text", "write_bytes", "write_text"),
        *("is_dir", "is_file", "iterdir", "mkdir", "rglob", "rmdir", "touch", "unlink"),
    }
)
_PATH_METHODS_OF_OTHERS = frozenset({"exists", "glob", "open", "rename", "replace", "stat"})


def impure_calls(unit: Unit) -> Iterator[Finding]:
    """Yield a warning for each call that a replay could not repeat."""
    for dotted, node in unit.references:
        call = unit.parents[node]
        is_called = isinstance(call, ast.Call) and call.func is node
        if (is_called and _is_impure(dotted)) or dotted.startswith("os.environ"):
            name = "os.environ" if dotted.startswith("os.environ") else dotted
            yield _finding(unit, name, node)
    for part in unit.parents:
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            method = part.func.attr
            if method == "run_in_executor":
                yield _finding(unit, method, part.func)
            elif _is_on_path(part.func, unit):
                yield _finding(unit, f"pathlib.Path.{method}", part.func)


def _finding(unit: Unit, name: str, node: ast.expr) -> Finding:
    message = f"Workflow code cannot use {name}: it could not be replayed."
    instead = remedy(name)
    hint = f"{instead[0].lower()}{instead[1:]}".removesuffix(".")
    return unit.file.finding(LintCode.FORBIDDEN, message, node, hint=hint, severity="warning")


def _is_impure(dotted: str) -> bool:
    if dotted in _FUNCTIONS:
        return True
    top, *rest = dotted.split(".")
    return bool(rest) and (top in _MODULES or f"{top}.{rest[0]}" in _MODULES)


def _is_on_path(method: ast.Attribute, unit: Unit) -> bool:
    """Say whether a method looks like one of `pathlib.Path` that touches the disk."""
    made_by = method.value.func if isinstance(method.value, ast.Call) else None
    if made_by is not None and unit.dotted(made_by) == "pathlib.Path":
        return method.attr in _PATH_METHODS | _PATH_METHODS_OF_OTHERS
    uses_paths = any(name.partition(".")[0] == "pathlib" for name in unit.file.imports.values())
    return uses_paths and method.attr in _PATH_METHODS
