"""Functions of the script as steps of their own, outside the sandbox."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.steps import StepActivities, StepInput
    from perdure.nango import HelperError
    from perdure.scripts.loader import bundle_file, is_script_file
    from perdure.temporal import policies
    from workflows.helper_errors import raise_helper_error
    from workflows.nango.steps import HelperSteps
    from workflows.scripts import type_of

__all__ = ["FunctionSteps", "located"]

P = ParamSpec("P")
T = TypeVar("T")


class FunctionSteps(HelperSteps):
    """`run`."""

    async def run(
        self, fn: Callable[P, Awaitable[T]] | Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See base class."""
        path, name = located(fn, "nango.run")
        result_type = type_of(fn, "return")
        call = StepInput(
            bundle=self.bundle,
            path=path,
            function=name,
            arguments=list(args),
            keywords=dict(kwargs),
            sealed=self.secrets.within([args, kwargs]),
        )
        try:
            result = await self._step(
                StepActivities.run, call, f"run {name}", policies.step(self._limit)
            )
        except ActivityError as error:
            raise_helper_error(error)
        value: T = result_type.validate_python(result.value)
        return value


def located(fn: Callable[..., Any], method: str) -> tuple[str, str]:
    """Return the file of a function and its name there.

    Args:
        fn: The function.
        method: What is to call it, for messages.

    Raises:
        HelperError: `invalid_step`, it is not one that can be found by file and name.
    """
    code = getattr(inspect.unwrap(fn), "__code__", None)
    name = getattr(fn, "__qualname__", "")
    if code is None or not is_script_file(code.co_filename) or "<locals>" in name:
        msg = (
            f"{method} needs a function defined at the top level of the script or of a module "
            f"of the project, not {name or fn!r}. Wrap the call in one: `def step(): ...`."
        )
        raise HelperError(msg, code="invalid_step")
    return bundle_file(code.co_filename), name
