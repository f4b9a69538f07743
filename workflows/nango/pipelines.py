"""Pages that are saved past the script, in steps that take longer and longer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.http import FetchPageInput
    from activities.page_mapping import FunctionRef
    from activities.records import BatchVerb
    from activities.save_pages import SavedSlice, SavePagesActivities, SavePagesInput
    from perdure.nango import HelperError, SavedPages
    from perdure.proxy.requests import HttpRequest
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.helper_errors import raise_page_error
    from workflows.nango.functions import located
    from workflows.nango.http import HttpSteps
    from workflows.nango.records import RecordSteps

__all__ = ["PipelineSteps"]

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 600.0
_NO_COUNTS = SavedPages(pages=0)


class PipelineSteps(RecordSteps, HttpSteps):
    """`paginate(...).save` and `paginate(...).delete`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self._pipelines = 0

    def state(self) -> RunState:
        """See base class."""
        return super().state().model_copy(update={"pipelines": self._pipelines})

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._pipelines = state.pipelines

    async def save_pages(
        self,
        request: HttpRequest,
        paginate: Mapping[str, Any],
        verb: Literal["save", "delete"],
        model: str,
        *,
        map_item: Callable[..., Any] | None,
        where: Callable[..., Any] | None,
        on_page: Callable[..., Any] | None,
    ) -> SavedPages:
        """See base class."""
        self._check_model(model)
        functions = {"map": map_item, "where": where, "on_page": on_page}
        refs = {
            name: _ref(fn, f"paginate(...).{verb}({name}=...)") for name, fn in functions.items()
        }
        self.has_requested = True
        self._written.add(model)
        self._pipelines += 1
        call = SavePagesInput(
            context=self._context,
            number=self._pipelines,
            verb=BatchVerb.SAVE if verb == "save" else BatchVerb.DELETE,
            model=model,
            page=FetchPageInput(
                connection=self._ref(request),
                request=request,
                paginate=dict(paginate),
                sealed=self._is_secret(request),
                kept_for=self._context.requests_kept_for,
            ),
            bundle=self.bundle,
            map_item=refs["map"],
            where=refs["where"],
            on_page=refs["on_page"],
            not_after=self._not_after.get(model),
            log_level=self._log_level,
        )
        await self.settle()
        with self._writing():
            try:
                return await self._slices(call)
            finally:
                self.progress.reading(0, 0)

    async def _slices(self, call: SavePagesInput) -> SavedPages:
        known, seconds = _NO_COUNTS, _FIRST_SECONDS
        while True:
            step = call.model_copy(
                update={
                    "seconds": seconds,
                    "secrets": self.secrets.texts,
                }
            )
            verb = call.verb.removeprefix("batch_")
            request = call.page.request
            summary = (
                f"{verb} {call.model} · {request.method} {request.endpoint} "
                f"· from page {known.pages + 1}"
            )
            self.progress.reading(call.number, known.pages)
            try:
                done = await self._step(
                    SavePagesActivities.save_pages,
                    step,
                    summary,
                    policies.page_slice(self._limit, timedelta(seconds=seconds), request.timeout_s),
                )
            except ActivityError as error:
                raise_page_error(error)
            self.secrets.learn(done.echoed)
            known = self._count(call.model, known, done)
            if done.done:
                return known
            seconds = min(2 * seconds, _LONGEST_SECONDS)

    def _count(self, model: str, before: SavedPages, done: SavedSlice) -> SavedPages:
        """Add to the run's progress what a slice did; what it tells are totals of the read."""
        self.progress.pages(done.pages - before.pages, done.following)
        self.progress.records(
            model, {name: total - getattr(before, name) for name, total in done.counts.items()}
        )
        return SavedPages(pages=done.pages, **done.counts)


def _ref(fn: Callable[..., Any] | None, method: str) -> FunctionRef | None:
    if fn is None:
        return None
    path, name = located(fn, method)
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        msg = f"{method} needs a plain function; `{name}` is async"
        raise HelperError(msg, code="invalid_step")
    return FunctionRef(path=path, name=name)
