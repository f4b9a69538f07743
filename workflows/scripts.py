"""Runs a script's entry point as workflow code, and stands at its border.

Whatever a script raises becomes a failure of its run that names file and line, once. Nothing
that a script does may leave its workflow task failing and being tried again for ever.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from perdure.ids import BundleHash
    from perdure.nango import HelperError
    from perdure.scripts.bundle import Bundle
    from perdure.scripts.execution import load_for_workflow
    from perdure.scripts.failures import is_control_flow, script_failure
    from perdure.temporal.payloads import ScriptFiles

__all__ = ["run_script"]


async def run_script(
    script: ScriptFiles, entry_point: str, *args: Any, mask: Callable[[str], str] = str
) -> Any:
    """Load a script and await its entry point.

    Args:
        script: The files of the run's bundle.
        entry_point: Name of the function to call.
        *args: Its arguments, the helper first.
        mask: Hides secrets in error messages.

    Raises:
        ScriptError: The script could not be loaded, or raised.
    """
    bundle = Bundle(BundleHash(script.bundle), script.files)
    try:
        function = _entry_point(load_for_workflow(bundle, script.path), script.path, entry_point)
        return await function(*args)
    except BaseException as error:
        if is_control_flow(error):
            raise
        raise script_failure(error, bundle, script.path, mask=mask) from None


def _entry_point(module: Any, path: str, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if function is None:
        msg = f"{path} defines no `async def {name}(...)`, which is where its run begins"
        raise HelperError(msg, code="entry_point_missing")
    if not inspect.iscoroutinefunction(function):
        msg = f"`{name}` in {path} must be an `async def` function"
        raise HelperError(msg, code="entry_point_invalid")
    return function  # type: ignore[no-any-return]  # checked right above
