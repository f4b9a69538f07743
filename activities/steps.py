"""Runs functions of scripts outside the workflow, where anything is allowed: `nango.run`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json
from temporalio import activity

from activities.step_modules import StepModules
from perdure.scripts.bundle import Bundle
from perdure.scripts.failures import script_failure
from perdure.scripts.secrets import KnownSecrets
from perdure.temporal.payloads import Payload

__all__ = ["StepActivities", "StepInput", "StepResult"]


class StepInput(Payload):
    """A call of a function of the project.

    Attributes:
        bundle: Hash of the run's bundle.
        path: File of the function.
        function: Its qualified name in the file.
        sealed: Whether the arguments carry a secret of the connection.
    """

    bundle: str
    path: str
    function: str
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class StepResult(Payload):
    """What the function returned; as secret as its arguments were."""

    value: Any = None
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class StepActivities:
    """Steps of scripts. Each runs in a thread of its own, so that none can block the worker.

    Args:
        modules: Finds the functions and runs them.
    """

    def __init__(self, modules: StepModules) -> None:
        self._modules = modules

    @activity.defn(name="run")
    async def run(self, call: StepInput) -> StepResult:
        """Call the function.

        Raises:
            ScriptError: The function raised, returned what is no JSON, or could not be loaded.
        """
        bundle = await self._modules.bundle(call.bundle)
        value = await self._modules.in_thread(partial(self._call, bundle, call))
        return StepResult(value=value, sealed=call.sealed)

    def _call(self, bundle: Bundle, call: StepInput) -> Any:
        try:
            function = self._modules.function(bundle, call.path, call.function)
            args, kwargs = _typed(function, call)
            if inspect.iscoroutinefunction(function):
                value = asyncio.run(function(*args, **kwargs))
            else:
                value = function(*args, **kwargs)
            return from_json(to_json(value))
        except BaseException as error:  # noqa: BLE001 - the border of a script
            secrets = KnownSecrets(call.arguments, call.keywords) if call.sealed else None
            raise script_failure(error, bundle, call.path, secrets) from None


def _typed(function: Callable[..., Any], call: StepInput) -> tuple[list[Any], dict[str, Any]]:
    """Give arguments the types that the function declares, since they travelled as JSON."""
    try:
        hints = get_type_hints(function)
    except NameError:
        hints = {}  # they name what exists for type checkers only
    hints.pop("return", None)
    bound = inspect.signature(function).bind(*call.arguments, **call.keywords)
    for name, value in bound.arguments.items():
        kind = inspect.signature(function).parameters[name].kind
        if name in hints and kind not in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD):
            bound.arguments[name] = TypeAdapter(hints[name]).validate_python(value)
    return list(bound.args), dict(bound.kwargs)
