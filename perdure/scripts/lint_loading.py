"""Loads the scripts of a project in this process, to find what only executing them shows.

Never to be used on a server: a script may do anything while it is loaded.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from types import ModuleType

from perdure.scripts.bundle import Bundle
from perdure.scripts.execution import modules_for_steps
from perdure.scripts.lint_findings import DeclaredScript, EntryPoint, Finding, LintCode
from perdure.scripts.loader import bundle_file, is_script_file

__all__ = ["load_scripts"]


def load_scripts(bundle: Bundle, scripts: Iterable[DeclaredScript]) -> list[Finding]:
    """Return why scripts cannot be loaded, and what is wrong with their entry points then.

    What a script prints goes to standard error.

    Args:
        bundle: The project, with its generated models.
        scripts: Those of its scripts to load. What does not parse is passed over.
    """
    findings: dict[Finding, None] = {}
    with redirect_stdout(sys.stderr):
        modules = modules_for_steps(bundle)
        for script in scripts:
            try:
                module = modules.load(script.path)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the border of a script
                if not _is_known(error):
                    findings[_not_loaded(error, script.path, bundle)] = None
            else:
                findings.update(dict.fromkeys(_entry_points(module, script)))
    return [*findings]


def _is_known(error: BaseException) -> bool:
    """Say whether a file of the project does not parse, which was found without loading it."""
    return isinstance(error, SyntaxError) and is_script_file(error.filename or "")


def _not_loaded(error: BaseException, path: str, bundle: Bundle) -> Finding:
    line = 1
    for frame, number in traceback.walk_tb(error.__traceback__):
        if is_script_file(frame.f_code.co_filename):
            path, line = bundle_file(frame.f_code.co_filename), number
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = None
    if isinstance(error, ModuleNotFoundError):
        hint = "install it here, and where workers run"
    message = f"The script cannot be loaded: {reason}"
    source = bundle.files[path].splitlines()
    text = source[line - 1] if line <= len(source) else ""
    start, end = len(text) - len(text.lstrip()) + 1, len(text) + 1
    return Finding(LintCode.IMPORT, message, path, line, start, line, max(end, start + 1), hint)


def _entry_points(module: ModuleType, script: DeclaredScript) -> Iterator[Finding]:
    for entry_point in script.entry_points:
        function = getattr(module, entry_point.name, None)
        if function is None:
            message = f"The script does not define `{entry_point}`."
            yield Finding(entry_point.code, message, script.path)
        elif not inspect.iscoroutinefunction(function):
            message = f"`{entry_point.name}` must be an `async def` function."
            yield Finding(LintCode.ENTRY_POINT, message, script.path)
        elif not _can_be_called(function, entry_point):
            message = f"`{entry_point.name}` cannot be called as it is: `{entry_point}`."
            yield Finding(LintCode.ENTRY_POINT, message, script.path)


def _can_be_called(function: object, entry_point: EntryPoint) -> bool:
    if not callable(function):
        return False
    signature = inspect.signature(function)
    for count in range(entry_point.fewest, len(entry_point.parameters) + 1):
        try:
            signature.bind(*entry_point.parameters[:count])
        except TypeError:
            continue
        return True
    return False
