"""Pages that are fetched ahead of a script: several in one step, which works for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import PrivateAttr
from temporalio import activity

from activities.http import FetchPageInput, HttpActivities
from perdure.clock import utcnow
from perdure.errors import UpstreamError
from perdure.proxy.pagination import Page, PageState
from perdure.temporal import policies
from perdure.temporal.bulk import BulkPayload, decoded, encoded, encoded_by_orjson
from perdure.temporal.payloads import Payload

__all__ = ["FetchPagesInput", "FetchedPages", "PageHead", "PageRefusal", "PageSliceActivities"]

_COOKIES = "set-cookie"

# What an object of JSON takes in memory, next to its text: nine times as much with a few fields.
_AS_OBJECTS = 8


class PageRefusal(Payload):
    """A page that was refused, as the API may be asked again later.

    Attributes:
        message: What happened, for people.
        code: See `perdure.errors.UpstreamError`; further fields as well.
        until: When the page may be asked for again.
    """

    message: str
    code: str
    status: int | None
    headers: dict[str, str]
    body: Any
    until: datetime

    def error(self) -> UpstreamError | None:
        """Return it as an error that is waited for, None where there is nothing to wait for."""
        wait = (self.until - utcnow()).total_seconds()
        if wait <= 0:
            return None
        return UpstreamError(
            self.message,
            code=self.code,
            status=self.status,
            headers=self.headers,
            body=self.body,
            retryable=True,
            retry_after=wait,
        )


class FetchPagesInput(FetchPageInput):
    """A request for pages that follow one another.

    Attributes:
        pages: How many at most.
        size: Bytes of their elements after which no further page is asked for.
        seconds: Time after which none is.
        refusal: Why the first of them was refused by the step before, None where it was not.
    """

    pages: int = 1
    size: int = 3 * 1024 * 1024
    seconds: float = 1.0
    refusal: PageRefusal | None = None


class PageHead(Payload):
    """What is known of a page besides its elements; see `activities.http.FetchedPage`.

    Attributes:
        by_orjson: As of `perdure.temporal.bulk.decoded`.
    """

    next: PageState | None = None
    status: int = 200
    headers: dict[str, str] = {}
    deliver: bool = True
    echoed: tuple[str, ...] = ()
    by_orjson: bool = False


class FetchedPages(BulkPayload):
    """Pages that follow one another, at least one; `bulk` holds the elements of each.

    Attributes:
        refusal: Why the page behind them is to be asked for later, None where it may be at once.
    """

    heads: tuple[PageHead, ...]
    refusal: PageRefusal | None = None
    # The elements as the step had them, which decoding gives as well: by index, until they are
    # taken. They travel only as far as the step's own process.
    _decoded: dict[int, list[Any]] = PrivateAttr(default_factory=dict)

    def holds_secret(self) -> bool:
        """See base class."""
        return any(head.echoed for head in self.heads)

    def memory(self) -> int:
        """See base class."""
        objects = sum(len(self.bulk[index]) for index in self._decoded)
        return super().memory() + _AS_OBJECTS * objects

    def with_decoded(self, pages: Mapping[int, list[Any]]) -> Self:
        """Return this with elements of pages by index; whoever gives them may not change them."""
        self._decoded.update(pages)
        return self

    def items(self, index: int) -> list[Any]:
        """Return the elements of a page, for the caller to keep."""
        items = self._decoded.pop(index, None)
        if items is None:
            items = decoded(self.bulk[index], by_orjson=self.heads[index].by_orjson)
        return items


class PageSliceActivities:
    """The step that fetches pages ahead.

    Args:
        http: Fetches a page.
    """

    def __init__(self, http: HttpActivities) -> None:
        self._http = http

    @activity.defn
    async def fetch_pages(self, call: FetchPagesInput) -> FetchedPages:
        """Fetch pages until there are enough of them.

        What is there is never lost to what comes after it: where a later page fails, or the worker
        stops, the pages before it are the result, and whoever asks for the next one meets the
        failure. Where the API may be asked again later, the result says when.

        Raises:
            UpstreamError: As `HttpActivities.fetch_page`, for the first page; or it is too early
                to ask for it.
            InvalidInputError: As `HttpActivities.fetch_page`.
        """
        too_early = call.refusal and call.refusal.error()
        if too_early:
            raise too_early
        loop = asyncio.get_running_loop()
        end = loop.time() + call.seconds
        heads: list[PageHead] = []
        bulk: list[bytes] = []
        pages: dict[int, list[Any]] = {}
        state, size, refusal = call.state, 0, None
        while True:
            number = call.number + len(heads)
            wanted = call.model_copy(update={"state": state, "number": number})
            try:
                page = await self._http.page(wanted)
            except (Exception, asyncio.CancelledError) as error:
                if not heads:
                    raise
                refusal = _refusal(error)
                break
            data = encoded_by_orjson(page.items)
            if data is not None and page.by_orjson:
                pages[len(heads)] = page.items
            heads.append(_head(page, by_orjson=data is not None))
            bulk.append(encoded(page.items) if data is None else data)
            state, size = page.next, size + len(bulk[-1])
            is_enough = len(heads) >= call.pages or size >= call.size or loop.time() >= end
            if state is None or is_enough or activity.is_worker_shutdown():
                break
        fetched = FetchedPages(heads=tuple(heads), bulk=tuple(bulk), refusal=refusal)
        return fetched.with_decoded(pages)


def _head(page: Page, *, by_orjson: bool) -> PageHead:
    return PageHead(
        next=page.next,
        status=page.status,
        headers={k: v for k, v in page.headers.items() if k != _COOKIES},
        deliver=page.deliver,
        echoed=page.echoed,
        by_orjson=by_orjson,
    )


def _refusal(error: BaseException) -> PageRefusal | None:
    if not isinstance(error, UpstreamError) or not error.retryable:
        return None
    wait = policies.backoff(1).total_seconds() if error.retry_after is None else error.retry_after
    return PageRefusal(
        message=error.message,
        code=error.code,
        status=error.status,
        headers=error.headers,
        body=error.body,
        until=utcnow() + timedelta(seconds=wait),
    )
