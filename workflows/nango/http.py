"""Requests to the external API, one step each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeVar, Unpack
from uuid import UUID, uuid5

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.connections import ConnectionRef
    from activities.http import FetchedPage, FetchPageInput, HttpActivities, ProxyAnswer, ProxyInput
    from activities.page_slices import FetchedPages, FetchPagesInput, PageSliceActivities
    from perdure.nango import (
        HelperError,
        Pages,
        PaginateOptions,
        RequestOptions,
        Response,
        SavedPages,
    )
    from perdure.proxy.pagination import PageState, shown_place
    from perdure.proxy.redaction import is_sensitive_name
    from perdure.proxy.requests import IDEMPOTENT, READS, HttpRequest
    from perdure.temporal import policies
    from perdure.temporal.failures import leaf_failure
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.helper_errors import (
        is_outcome_unknown,
        raise_http_error,
        wait_before_repeating,
    )
    from workflows.nango.pages_ahead import PagesAhead, Pauses, SliceStart
    from workflows.nango.steps import HelperSteps
    from workflows.pages import DurablePages, as_request, as_response
    from workflows.steps import shortened

__all__ = ["HttpSteps"]

# Names of changes in histories; they can never change.
_AHEAD = "pages-fetched-ahead"

_WRITES = UUID("0f1c7e52-6a0b-4bb5-9f2c-8f0c9b0f4a11")
_TOLD_APART_BY = {
    "method",
    "endpoint",
    "params",
    "data",
    "base_url_override",
    "provider_config_key",
    "connection_id",
}

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


class HttpSteps(HelperSteps):
    """`proxy`, the methods over it, and `paginate`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self._writes_before = 0
        self._same_writes: Counter[str] = Counter()
        self._writes_made = 0
        self._ahead: list[asyncio.Task[FetchedPages]] = []
        self._pauses = Pauses()

    def state(self) -> RunState:
        """See base class."""
        return super().state().model_copy(update={"writes": self._writes_made})

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._writes_before = self._writes_made = state.writes

    def begin_again(self) -> None:
        """Have the script begin anew: what it writes as before counts as the same."""
        self._same_writes.clear()

    async def proxy(
        self,
        endpoint: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET",
        **options: Unpack[RequestOptions],
    ) -> Response:
        """See base class."""
        self.has_requested = True
        request = as_request(endpoint, method, options)
        if method not in IDEMPOTENT:
            request = request.model_copy(update={"idempotency_key": self._write_key(request)})
        call = ProxyInput(
            connection=self._ref(request),
            request=request,
            sealed=self._is_secret(request),
            kept_for=self._context.requests_kept_for,
        )
        summary = f"{method} {endpoint}"
        if method in IDEMPOTENT:
            answer = await self._repeatable(HttpActivities.proxy, call, summary, request)
        else:
            answer = await self._not_repeatable(call, summary, request)
        self.secrets.learn(answer.response.echoed)
        self.progress.request()
        return as_response(answer.response)

    def paginate(
        self,
        endpoint: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH"] = "GET",
        paginate: PaginateOptions | None = None,
        **options: Unpack[RequestOptions],
    ) -> Pages:
        """See base class."""
        request = as_request(endpoint, method, options)
        return DurablePages(self.read_pages, self.save_pages, request, paginate or {})

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
        """Save or delete pages past the script; only syncs have the records for it.

        Raises:
            HelperError: `records_outside_sync`.
        """
        del request, paginate, model, map_item, where, on_page
        msg = f"`nango.paginate(...).{verb}` works in syncs only, since only syncs have records."
        raise HelperError(msg, code="records_outside_sync")

    async def read_pages(
        self, request: HttpRequest, paginate: Mapping[str, Any]
    ) -> AsyncIterator[FetchedPage]:
        """Yield the pages of a request."""
        self.has_requested = True
        if not self._has(_AHEAD):
            async for page in self._read_one_by_one(request, paginate):
                yield page
            return
        fetch = partial(self._fetch_pages, request, paginate)
        async for page in PagesAhead(fetch, self._ahead, self._pauses).read():
            self.progress.page(shown_place(page.next))
            yield page

    def drop_ahead(self) -> None:
        """See base class."""
        for slice_ in self._ahead:
            slice_.cancel()

    async def close(self) -> None:
        """See base class."""
        self.drop_ahead()
        await super().close()

    async def _fetch_pages(
        self,
        request: HttpRequest,
        paginate: Mapping[str, Any],
        start: SliceStart,
        most: int,
    ) -> FetchedPages:
        """Fetch pages; the step is repeatable whatever the method, since it only reads."""
        call = FetchPagesInput(
            connection=self._ref(request),
            request=request,
            paginate=dict(paginate),
            state=start.state,
            sealed=self._is_secret(request) or self.secrets.within(start.state),
            kept_for=self._context.requests_kept_for,
            number=start.number,
            pages=most,
            refusal=start.refusal,
        )
        which = f"page {start.number}" if most == 1 else f"pages from {start.number} on"
        summary = f"{request.method} {request.endpoint} · {which}"
        pages = await self._repeatable(
            PageSliceActivities.fetch_pages, call, summary, request, working=call.seconds
        )
        for head in pages.heads:
            self.secrets.learn(head.echoed)
        return pages

    async def _read_one_by_one(
        self, request: HttpRequest, paginate: Mapping[str, Any]
    ) -> AsyncIterator[FetchedPage]:
        state: PageState | None = None
        number = 0
        while number == 0 or state is not None:
            number += 1
            page = await self._fetch_page(request, paginate, state, number)
            yield page
            state = page.next

    async def _fetch_page(
        self,
        request: HttpRequest,
        paginate: Mapping[str, Any],
        state: PageState | None,
        number: int,
    ) -> FetchedPage:
        call = FetchPageInput(
            connection=self._ref(request),
            request=request,
            paginate=dict(paginate),
            state=state,
            sealed=self._is_secret(request) or self.secrets.within(state),
            kept_for=self._context.requests_kept_for,
        )
        summary = f"{request.method} {request.endpoint} · page {number}"
        page = await self._repeatable(HttpActivities.fetch_page, call, summary, request)
        self.secrets.learn(page.echoed)
        self.progress.page(shown_place(page.next))
        return page

    async def _is_repeatable_unheard(
        self, error: ActivityError, call: ProxyInput, attempt: int
    ) -> bool:
        """Say whether a write is made again though nobody knows what the last attempt did."""
        if not is_outcome_unknown(error) or not workflow.patched("unheard-writes-are-repeated"):
            return False
        retries = call.request.retries
        if retries is not None and attempt > retries:
            return False
        summary = f"ask whether {call.request.method} {call.request.endpoint} may be repeated"
        return await self._lookup(HttpActivities.may_be_repeated, call, summary, observes=False)

    def _write_key(self, request: HttpRequest) -> str:
        """Return the idempotency key of a write.

        It follows from the run, from what is written and from how often the same was written
        before: so it stays the same for every attempt, and where the run is retried or its script
        runs again, and a provider that knows such keys acts once.
        """
        # Drawn as ever: what scripts draw after it must not change in histories that exist.
        workflow.uuid4()
        told = request.model_dump_json(include=_TOLD_APART_BY)
        self._same_writes[told] += 1
        self._writes_made += 1
        place = (
            self.run_id,
            workflow.info().workflow_id,
            self._writes_before,
            self._same_writes[told],
        )
        return str(uuid5(_WRITES, "\0".join((*map(str, place), told))))

    def _is_secret(self, request: HttpRequest) -> bool:
        return self.secrets.within(request) or any(map(is_sensitive_name, request.headers))

    def _ref(self, request: HttpRequest) -> ConnectionRef:
        return self._ref_of(request.provider_config_key, request.connection_id)

    async def _repeatable(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        call: ArgumentT,
        summary: str,
        request: HttpRequest,
        *,
        working: float = 0,
    ) -> ResultT:
        """Let Temporal repeat a request until it succeeds or the limit is over.

        Args:
            activity: Makes it.
            call: Its argument.
            summary: What it does, for people.
            request: The request.
            working: Seconds for which the step makes further requests.
        """
        policy = policies.http_until(self._limit, request.timeout_s + working)
        observes = request.method not in READS and not isinstance(call, FetchPageInput)
        try:
            return await self._step(activity, call, summary, policy, observes=observes)
        except ActivityError as error:
            raise_http_error(error)

    async def _not_repeatable(
        self, call: ProxyInput, summary: str, request: HttpRequest
    ) -> ProxyAnswer:
        """Repeat only what provably was not processed, waiting with durable timers."""
        deadline = workflow.now() + self._limit
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._step(
                    HttpActivities.proxy, call, summary, policies.http_once(request.timeout_s)
                )
            except ActivityError as error:
                reason = str(leaf_failure(error))
                wait = wait_before_repeating(error, attempt)
                if wait is None and await self._is_repeatable_unheard(error, call, attempt):
                    wait = policies.backoff(attempt)
                if wait is None or workflow.now() + wait > deadline:
                    raise_http_error(error)
            with self.progress.waiting(reason, workflow.now() + wait, attempt + 1):
                await workflow.sleep(
                    wait, summary=shortened(self.secrets.mask(f"wait before repeating {summary}"))
                )
