"""The two worlds a script's code runs in: workflow code, and steps of its own.

In the first, imports give deterministic modules and everything impure is refused; each run has
its own instances of the script's modules. In the second, that of `nango.run`, the script sees
the real world, and a process loads each bundle once.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from temporalio import workflow

from perdure.scripts.bundle import Bundle
from perdure.scripts.determinism import deterministic_modules
from perdure.scripts.guard import ForbiddenInScriptError, allowed
from perdure.scripts.loader import ScriptModules, shared_models
from perdure.scripts.validation import ModelValidator

__all__ = ["load_for_workflow", "model_validator", "modules_for_steps"]

# The sandbox overrides modules and builtins per thread. A thread of our own sees the real ones.
_outside_sandbox = ThreadPoolExecutor(max_workers=1, thread_name_prefix="perdure-models")


def load_for_workflow(bundle: Bundle, path: str) -> ModuleType:
    """Load a script as workflow code; call it inside the workflow."""
    with allowed():
        models = _outside_sandbox.submit(shared_models, bundle).result()
    return ScriptModules(bundle, outside=_deterministic_import, models=models).load(path)


def model_validator(bundle: Bundle) -> ModelValidator:
    """Return the bundle's models as judges of values, shared by the runs of the process."""
    with allowed():
        return _outside_sandbox.submit(_model_validator, bundle).result()


def _model_validator(bundle: Bundle) -> ModelValidator:
    module = shared_models(bundle)
    if module is None:
        return ModelValidator({}, _outside_sandbox)
    validator = getattr(module, "__perdure_validator__", None)
    if validator is None:
        validator = ModelValidator(getattr(module, "MODELS", {}), _outside_sandbox)
        vars(module)["__perdure_validator__"] = validator
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
    """The sandbox's `os`, without the worker's environment."""

    def __init__(self, restricted: ModuleType) -> None:
        super().__init__("os")
        self.__dict__["_restricted"] = restricted
        self.environ = _Environ()

    def getenv(self, key: str, default: str | None = None) -> str | None:
        del key, default
        raise ForbiddenInScriptError("os.getenv")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._restricted, name)


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
    with allowed(), workflow.unsafe.imports_passed_through():
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
    is_os = name == "os" or (name.startswith("os.") and not fromlist)
    return _Os(module) if is_os else module
