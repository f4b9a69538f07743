"""A function of the script for every item, each in a child workflow."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, Self, TypeVar

from pydantic_core import PydanticSerializationError
from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.each import EachCall, ItemsInput, ItemsResult
    from perdure.nango import EachError, HelperError
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.each_items import ItemsFailedError, in_lanes, run_batch, run_items
    from workflows.nango.functions import located
    from workflows.nango.steps import HelperSteps
    from workflows.scripts import as_json, type_of

__all__ = ["EachSteps", "checked_function", "plain_items"]

T = TypeVar("T")
ItemT = TypeVar("ItemT")

# A child costs its parent up to nine events. More items than these go through workflows in
# between, of which several are under way, so that one slow item does not hold back the rest.
_BATCH_ITEMS = 500
_BATCH_BYTES = 4 * 1024 * 1024
_BATCHES_AT_A_TIME = 4
_MAX_CONCURRENCY = 500


class EachSteps(HelperSteps):
    """`each`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self._scope = ""
        self._calls = 0

    def begin_scope(self, scope: str) -> None:
        """Name the items of this helper's calls after the item that it works on itself."""
        self._scope = f"{scope}/"

    def state(self) -> RunState:
        """See base class."""
        return super().state().model_copy(update={"each_calls": self._calls})

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._calls = state.each_calls

    async def each(
        self,
        items: Iterable[ItemT],
        fn: Callable[[Self, ItemT], Awaitable[T]],
        *,
        concurrency: int = 10,
    ) -> list[T]:
        """See base class."""
        file, function = checked_function(fn, concurrency)
        values, sizes = plain_items(items)
        self._calls += 1
        if not values:
            return []
        # Items may read what was saved before them.
        await self.settle()
        await self._unhalted()
        call = EachCall(
            context=self._context.model_copy(
                update={"bundle": self.bundle, "log_level": self._log_level}
            ),
            state=self.state_of_item(),
            file=file,
            function=function,
            total=len(values),
            scope=f"{self._scope}{self._calls}",
            limit_s=self._limit.total_seconds(),
            secrets=self.secrets.texts if self.secrets.within(values) else (),
        )
        self.progress.items(begun=len(values))
        batches = list(_batches(values, sizes))
        with self._under_way():
            try:
                if len(batches) == 1:
                    whole = ItemsInput(call=call, items=values, concurrency=concurrency)
                    results = [await run_items(whole, self.progress)]
                else:
                    results = await self._run_batches(call, batches, concurrency)
            except ItemsFailedError as error:
                raise _each_error(error, call) from None
        for result in results:
            self.secrets.learn(*result.secrets)
        result_type = type_of(fn, "return")
        return [result_type.validate_python(v) for result in results for v in result.values]

    async def _run_batches(
        self, call: EachCall, batches: Sequence[tuple[int, list[Any]]], concurrency: int
    ) -> list[ItemsResult]:
        at_a_time = min(_BATCHES_AT_A_TIME, concurrency, len(batches))
        results: dict[int, ItemsResult] = {}
        failures: list[ItemsFailedError] = []

        async def work(number: int) -> None:
            first, items = batches[number]
            batch = ItemsInput(
                call=call, items=items, first=first, concurrency=concurrency // at_a_time
            )
            try:
                results[number] = result = await run_batch(batch)
            except ItemsFailedError as error:
                failures.append(error)
                failed = len(error.failed)
                self.progress.items(done=len(items) - failed, failed=failed)
                return
            self.progress.include(result.progress)
            self.progress.items(done=len(items))

        await in_lanes(at_a_time, len(batches), work)
        if failures:
            first = min(failures, key=lambda failure: failure.failed)
            failed = sorted(index for failure in failures for index in failure.failed)
            raise ItemsFailedError(tuple(failed), first.first)
        return [results[number] for number in range(len(batches))]


def checked_function(fn: Callable[..., Any], concurrency: int) -> tuple[str, str]:
    """Return file and name of the function.

    Raises:
        HelperError: It cannot be called in an execution of its own, or `concurrency` is no
            number of items.
    """
    file, name = located(fn, "nango.each")
    if "." in name or not inspect.iscoroutinefunction(fn):
        msg = f"nango.each needs an `async def` function, not {name}"
        raise HelperError(msg, code="invalid_step")
    try:
        inspect.signature(fn).bind(None, None)
    except TypeError:
        msg = f"nango.each calls {name}(nango, item); it has to take these two"
        raise HelperError(msg, code="invalid_step") from None
    if not 1 <= concurrency <= _MAX_CONCURRENCY:
        msg = f"concurrency must be between 1 and {_MAX_CONCURRENCY}, not {concurrency}"
        raise HelperError(msg, code="invalid_options")
    return file, name


def plain_items(items: Iterable[Any]) -> tuple[list[Any], list[int]]:
    """Return items as JSON, and the length of each in bytes.

    Raises:
        HelperError: `invalid_item`.
    """
    values: list[Any] = []
    sizes: list[int] = []
    for index, item in enumerate(items):
        try:
            value, size = as_json(item)
        except (PydanticSerializationError, ValueError) as error:
            msg = f"items[{index}] is no JSON value: {error}"
            raise HelperError(msg, code="invalid_item") from error
        values.append(value)
        sizes.append(size)
    return values, sizes


def _batches(values: list[Any], sizes: list[int]) -> Iterator[tuple[int, list[Any]]]:
    """Yield the place of a batch's first item, and its items."""
    first, length = 0, 0
    for index, size in enumerate(sizes):
        full = index - first == _BATCH_ITEMS or length + size > _BATCH_BYTES
        if full and index > first:
            yield first, values[first:index]
            first, length = index, 0
        length += size
    yield first, values[first:]


def _each_error(error: ItemsFailedError, call: EachCall) -> EachError:
    index, others = error.failed[0], len(error.failed) - 1
    more = f" (and {others:,} more items failed)" if others else ""
    return EachError(
        f"items[{index}] of {call.total:,}: {error.first['message']}{more}",
        code=error.first["type"],
        failed=error.failed,
        error=error.first,
        call=call.prefix,
    )
