"""The helper that a script is given in a test: the engine's own, over steps in memory.

Checks, messages and the order of things are those of a run, because it is the same code. A test is
a dry run besides: checkpoints, metadata and locks are its own, and other syncs are left alone.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, NoReturn, ParamSpec, Self, TypeVar, Unpack

from temporalio.common import Priority
from temporalio.exceptions import ActivityError, ApplicationError, RetryState
from temporalio.workflow import ActivityConfig

from activities.http import HttpActivities, ProxyInput
from activities.sync_commands import SyncCommand
from perdure.errors import PerdureError
from perdure.nango import EachError, LogLevel, RequestOptions, Response
from perdure.temporal import policies
from perdure.temporal.converter import ScriptError
from perdure.temporal.interceptors import application_error
from perdure.temporal.payloads import RunContext
from perdure.testing.steps import MemorySteps
from workflows.helper_errors import raise_http_error
from workflows.nango import DurableAction, DurableSync
from workflows.nango.each import checked_function, plain_items
from workflows.nango.functions import located
from workflows.nango.steps import HelperSteps
from workflows.pages import as_request, as_response
from workflows.progress import Progress
from workflows.scripts import as_json, type_of

__all__ = ["FakeAction", "FakeSync"]

P = ParamSpec("P")
T = TypeVar("T")
ItemT = TypeVar("ItemT")
ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


class _SilentProgress(Progress):
    def _set(self, **changes: object) -> None:
        del changes  # there is no history to show it in


class _InMemory(HelperSteps):
    """What takes the place of Temporal.

    Attributes:
        lines: What was logged: level and text.
        triggered: Commands to syncs.
    """

    def __init__(
        self,
        context: RunContext,
        steps: MemorySteps,
        outputs: Mapping[str, Any],
        lines: list[tuple[LogLevel, str]] | None = None,
    ) -> None:
        super().__init__(context, limit=timedelta(minutes=1), priority=Priority.default)
        self._steps = steps
        self._outputs = {
            name: list(value) if isinstance(value, list) else value
            for name, value in outputs.items()
        }
        self.progress = _SilentProgress(self.secrets.mask)
        self.lines: list[tuple[LogLevel, str]] = [] if lines is None else lines
        self.triggered: list[SyncCommand] = []

    def _write_line(self, text: str, level: LogLevel) -> None:
        self.lines.append((level, text))

    async def _all_written(self) -> None:
        pass

    def _has(self, change: str) -> bool:
        del change  # steps cost nothing in memory: each is taken at once
        return False

    async def _engine_step(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        argument: ArgumentT,
        summary: str,
        policy: ActivityConfig = policies.BOOKKEEPING,
    ) -> ResultT:
        del policy
        try:
            result: ResultT = await self._steps.take(activity, argument)
        except PerdureError as error:
            _raise_as_step(application_error(error), summary, activity.__name__)
        except ScriptError as error:
            _raise_as_step(error, summary, activity.__name__)
        return result

    async def proxy(
        self,
        endpoint: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET",
        **options: Unpack[RequestOptions],
    ) -> Response:
        self.has_requested = True
        request = as_request(endpoint, method, options)
        call = ProxyInput(connection=self._ref_of(None, None), request=request)
        try:
            answer = await self._step(HttpActivities.proxy, call, f"{method} {endpoint}")
        except ActivityError as error:
            raise_http_error(error)
        return as_response(answer.response)

    async def run(
        self, fn: Callable[P, Awaitable[T]] | Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        located(fn, "nango.run")
        value: Any = fn(*args, **kwargs)
        if isinstance(value, Awaitable):
            value = await value
        plain, _ = as_json(value)
        result: T = type_of(fn, "return").validate_python(plain)
        return result

    async def each(
        self,
        items: Iterable[ItemT],
        fn: Callable[[Self, ItemT], Awaitable[T]],
        *,
        concurrency: int = 10,
    ) -> list[T]:
        checked_function(fn, concurrency)
        values, _ = plain_items(items)
        slots = asyncio.Semaphore(concurrency)
        kind = type_of(fn, list(inspect.signature(fn).parameters)[1])

        async def work(value: Any) -> T:
            async with slots:
                own = type(self)(self._context, self._steps, self._outputs, self.lines)
                own.resume(self.state_of_item())
                own.validation = self.validation
                plain, _ = as_json(await fn(own, kind.validate_python(value)))
            result: T = type_of(fn, "return").validate_python(plain)
            return result

        results = await asyncio.gather(*map(work, values), return_exceptions=True)
        failed = [i for i, result in enumerate(results) if isinstance(result, BaseException)]
        if failed:
            first = results[failed[0]]
            facts = {"type": type(first).__name__, "message": str(first)}
            raise EachError(
                f"items[{failed[0]}] of {len(values):,}: {first}",
                code=getattr(first, "code", "script_internal_error"),
                failed=failed,
                error=facts,
                call="",
            ) from (first if isinstance(first, BaseException) else None)
        return list(results)  # type: ignore[arg-type]  # none is an exception

    async def _command(self, activity: Any, command: SyncCommand, verb: str) -> None:
        del activity, verb
        self.triggered.append(command)

    async def _action(self, integration: str, connection_id: str, name: str, value: Any) -> Any:
        del integration, connection_id, value
        if name not in self._outputs:
            msg = (
                f"The script triggered the action {name!r}, whose output the fixture does not "
                f'hold. Write it there: {{"nango": {{"triggerAction": {{"{name}": ...}}}}}}'
            )
            raise AssertionError(msg)
        outputs = self._outputs[name]
        if not isinstance(outputs, list):
            return outputs
        if not outputs:
            msg = f"The script triggered the action {name!r} more often than the fixture holds"
            raise AssertionError(msg)
        return outputs.pop(0)


class FakeAction(_InMemory, DurableAction):
    """The helper of actions in tests."""


class FakeSync(_InMemory, DurableSync):
    """The helper of syncs in tests."""


def _raise_as_step(error: ApplicationError, summary: str, name: str) -> NoReturn:
    """Raise what a workflow sees of a step that failed for good.

    Raises:
        ActivityError: With the error as its cause.
    """
    raise ActivityError(
        summary,
        scheduled_event_id=0,
        started_event_id=0,
        identity="",
        activity_type=name,
        activity_id="",
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    ) from error
