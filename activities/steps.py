"""Runs functions of scripts outside the workflow, where anything is allowed: `nango.run`."""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.bundles import BundleCache
from activities.heartbeat import heartbeating
from perdure.ids import BundleHash
from perdure.scripts.bundle import Bundle
from perdure.scripts.execution import modules_for_steps
from perdure.scripts.failures import script_failure
from perdure.scripts.loader import ScriptModules
from perdure.temporal.payloads import Payload

__all__ = ["StepActivities", "StepInput", "StepResult"]

_LOADED_BUNDLES = 32


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
    """Steps of scripts.

    Args:
        bundles: Where the scripts come from.
    """

    def __init__(self, bundles: BundleCache) -> None:
        self._bundles = bundles
        self._loaded: OrderedDict[str, ScriptModules] = OrderedDict()

    @activity.defn(name="run")
    async def run(self, call: StepInput) -> StepResult:
        """Call the function; a plain one runs in a thread of its own.

        Raises:
            ScriptError: The function raised, or the file could not be loaded.
        """
        stored = await self._bundles.get(BundleHash(call.bundle))
        bundle = Bundle(stored.hash, stored.files)
        async with heartbeating():
            try:
                modules = await asyncio.to_thread(self._modules, bundle)
                function = _function(await asyncio.to_thread(modules.load, call.path), call)
                args, kwargs = _typed(function, call)
                if inspect.iscoroutinefunction(function):
                    value = await function(*args, **kwargs)
                else:
                    value = await asyncio.to_thread(function, *args, **kwargs)
            except ApplicationError:
                raise
            except Exception as error:  # noqa: BLE001 - the border of a script
                raise script_failure(error, bundle, call.path) from None
        return StepResult(value=value, sealed=call.sealed)

    def _modules(self, bundle: Bundle) -> ScriptModules:
        modules = self._loaded.get(bundle.hash)
        if modules is None:
            modules = self._loaded[bundle.hash] = modules_for_steps(bundle)
            if len(self._loaded) > _LOADED_BUNDLES:
                self._loaded.popitem(last=False)
        return modules


def _function(module: Any, call: StepInput) -> Callable[..., Any]:
    value = module
    for part in call.function.split("."):
        value = getattr(value, part)
    return value  # type: ignore[no-any-return]  # the workflow sends names of functions only


def _typed(function: Callable[..., Any], call: StepInput) -> tuple[list[Any], dict[str, Any]]:
    """Give arguments the types that the function declares, since they travelled as JSON."""
    hints = get_type_hints(function)
    hints.pop("return", None)
    bound = inspect.signature(function).bind(*call.arguments, **call.keywords)
    for name, value in bound.arguments.items():
        kind = inspect.signature(function).parameters[name].kind
        if name in hints and kind not in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD):
            bound.arguments[name] = TypeAdapter(hints[name]).validate_python(value)
    return list(bound.args), dict(bound.kwargs)
