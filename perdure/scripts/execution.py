"""The two worlds a script's code runs in: workflow code, and steps of its own.

In the first, imports give deterministic modules and everything impure is refused; each run has
its own instances of the script's modules. In the second, that of `nango.run`, the script sees
the real world, and a process loads each bundle once.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from temporalio import workflow

from perdure.scripts.bundle import MODELS_FILE, Bundle
from perdure.scripts.determinism import deterministic_modules
from perdure.scripts.guard import ForbiddenInScriptError, allowed
from perdure.scripts.loader import ScriptModules, loaded_models, shared_models
from perdure.scripts.validation import ModelValidator

__all__ = ["import_in_background", "load_for_workflow", "model_validator", "modules_for_steps"]

# The sandbox overrides modules and builtins per thread. A thread of our own sees the real ones.
_outside_sandbox = ThreadPoolExecutor(max_workers=1, thread_name_prefix="perdure-models")
_importing = ThreadPoolExecutor(max_workers=4, thread_name_prefix="perdure-import")
_imported: set[str] = set()
_VALIDATOR = "__perdure_validator__"


def load_for_workflow(bundle: Bundle, path: str) -> ModuleType:
    """Load a script as workflow code; call it inside the workflow."""
    models = loaded_models(bundle)
    if models is None and MODELS_FILE in bundle.files:
        with allowed():
            models = _outside_sandbox.submit(shared_models, bundle).result()
    return ScriptModules(bundle, outside=_deterministic_import, models=models).load(path)


def model_validator(bundle: Bundle) -> ModelValidator:
    """Return the bundle's models as judges of values, shared by the runs of the process."""
    validator: ModelValidator | None = getattr(loaded_models(bundle), _VALIDATOR, None)
    if validator is not None:
        return validator
    with allowed():
        return _outside_sandbox.submit(_model_validator, bundle).result()


def _model_validator(bundle: Bundle) -> ModelValidator:
    module = shared_models(bundle)
    if module is None:
        return ModelValidator({}, _outside_sandbox)
    validator: ModelValidator | None = getattr(module, _VALIDATOR, None)
    if validator is None:
        validator = ModelValidator(getattr(module, "MODELS", {}), _outside_sandbox)
        vars(module)[_VALIDATOR] = validator
    return validator


def modules_for_steps(bundle: Bundle) -> ScriptModules:
    """Return the bundle's modules for `nango.run`; use them outside workflows."""
    return ScriptModules(bundle, outside=builtins.__import__, models=shared_models(bundle))


class _Environ(Mapping[str, str]):
    """Stands for `os.environ`: it differs from worker to worker and may hold their secrets."""

    def __getitem__(self, key: str) -> str:
        raise ForbiddenInScriptError("os.environ")

    def __iter__(self) -> Any:
        raise ForbiddenInScriptError("os.environ")

    def __len__(self) -> int:
        raise ForbiddenInScriptError("os.environ")


class _Os(ModuleType):
    """The sandbox's `os`, without the worker's environment, with what computes on paths."""

    def __init__(self, restricted: ModuleType) -> None:
        super().__init__("os")
        self.__dict__["_restricted"] = restricted
        self.environ = _Environ()
        self.path = _PATH

    def getenv(self, key: str, default: str | None = None) -> str | None:
        del key, default
        raise ForbiddenInScriptError("os.getenv")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._restricted, name)


class _Path(ModuleType):
    """`os.path`, as far as it only computes."""

    _COMPUTING = frozenset(
        {
            *("basename", "commonpath", "commonprefix", "dirname", "isabs", "join", "normcase"),
            *("normpath", "split", "splitdrive", "splitext"),
            *("altsep", "curdir", "devnull", "extsep", "pardir", "pathsep", "sep"),
        }
    )

    def __getattr__(self, name: str) -> Any:
        value = getattr(os.path, name)
        if name in self._COMPUTING:
            return value
        raise ForbiddenInScriptError(f"os.path.{name}")


_PATH = _Path("os.path")


def _deterministic_import(
    name: str,
    globals: Mapping[str, Any] | None = None,  # noqa: A002 - signature of __import__
    locals: Mapping[str, Any] | None = None,  # noqa: A002 - signature of __import__
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    replaced = deterministic_modules().get(name)
    if replaced is not None:
        return replaced
    if name == "os.path" and fromlist:
        return _PATH
    package = name.partition(".")[0]
    with allowed(), workflow.unsafe.imports_passed_through():
        if package not in sys.stdlib_module_names:
            import_in_background(name)
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
    is_os = name == "os" or (name.startswith("os.") and not fromlist)
    return _Os(module) if is_os else module


def import_in_background(name: str) -> None:
    """Import an installed module on a thread that a workflow's time limit does not interrupt.

    A heavy one may take longer than a workflow may go without yielding. The next attempt then
    finds the import further on, or done.

    Raises:
        ImportError: There is no such module.
    """
    if name not in _imported:
        _importing.submit(importlib.import_module, name).result()
        _imported.add(name)
