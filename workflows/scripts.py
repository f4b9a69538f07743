"""Where scripts are loaded as workflow code, and the border around them.

Whatever a script raises becomes a failure of its run that names file and line, once. Nothing
that a script does may leave its workflow task failing and being tried again for ever.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias, get_type_hints

from pydantic import PydanticUserError, TypeAdapter
from pydantic_core import from_json
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from perdure.ids import BundleHash
    from perdure.nango import HelperError
    from perdure.scripts.bundle import Bundle
    from perdure.scripts.execution import load_for_workflow
    from perdure.scripts.failures import is_control_flow, script_failure
    from perdure.scripts.secrets import KnownSecrets
    from perdure.temporal.converter import ScriptError
    from perdure.temporal.payloads import ScriptFiles
    from workflows.late_failures import heard_at

__all__ = [
    "EntryPoint",
    "as_json",
    "failure_observer",
    "load_entry_point",
    "script_border",
    "type_of",
]

EntryPoint: TypeAlias = Callable[..., Awaitable[Any]]

failure_observer: ContextVar[Callable[[ScriptError], None] | None] = ContextVar(
    "failure_observer", default=None
)
"""Told of a script's failure at once; the run itself first writes what was handed over before."""

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


@contextmanager
def script_border(script: ScriptFiles, secrets: KnownSecrets) -> Iterator[None]:
    """Turn whatever leaves the block into a failure of the run; Temporal's own business passes.

    Args:
        script: The files of the run's bundle.
        secrets: What to hide in errors.

    Raises:
        ScriptError: Something was raised inside.
    """
    try:
        yield
    except BaseException as error:
        if is_control_flow(error):
            raise
        failure = script_failure(
            error, _bundle(script), script.path, secrets, failed_at=heard_at(error)
        )
        observe = failure_observer.get()
        if observe is not None:
            observe(failure)
        raise failure from None


def load_entry_point(script: ScriptFiles, name: str) -> EntryPoint:
    """Load a script and return the function its run begins with.

    Raises:
        HelperError: `entry_point_missing` or `entry_point_invalid`.
        Exception: Whatever the script raises while it is loaded.
    """
    module = load_for_workflow(_bundle(script), script.path)
    function = getattr(module, name, None)
    if function is None:
        msg = f"{script.path} defines no `async def {name}(...)`, which is where its run begins"
        raise HelperError(msg, code="entry_point_missing")
    if not inspect.iscoroutinefunction(function):
        msg = f"`{name}` in {script.path} must be an `async def` function"
        raise HelperError(msg, code="entry_point_invalid")
    return function  # type: ignore[no-any-return]  # checked right above


def as_json(value: Any) -> tuple[Any, int]:
    """Return a script's value as the JSON it travels as, and the length of that in bytes.

    Fields of models that were never set are left out.

    Raises:
        PydanticSerializationError: It is no JSON.
    """
    data = _ANY.dump_json(value, by_alias=True, exclude_unset=True)
    return from_json(data), len(data)


def type_of(fn: Callable[..., Any], name: str) -> TypeAdapter[Any]:
    """Return the type that a function declares for a parameter, or for `return`.

    JSON becomes it again. Hints that only type checkers can read do not count.
    """
    try:
        return TypeAdapter(get_type_hints(inspect.unwrap(fn)).get(name, Any))
    except (NameError, TypeError, PydanticUserError):
        return TypeAdapter(Any)


def _bundle(script: ScriptFiles) -> Bundle:
    return Bundle(BundleHash(script.bundle), script.files)
