"""Pages that are fetched ahead of a script: several in one step, which works for a moment."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import activity

from activities.heartbeat import heartbeating
from activities.http import FetchPageInput, HttpActivities
from perdure.proxy.pagination import Page, PageState
from perdure.temporal.bulk import BulkPayload, decoded, encoded
from perdure.temporal.payloads import Payload

__all__ = ["FetchPagesInput", "FetchedPages", "PageHead", "PageSliceActivities"]

_COOKIES = "set-cookie"


class FetchPagesInput(FetchPageInput):
    """A request for pages that follow one another.

    Attributes:
        pages: How many at most.
        size: Bytes of their elements after which no further page is asked for.
        seconds: Time after which none is.
    """

    pages: int = 1
    size: int = 2 * 1024 * 1024
    seconds: float = 1.0


class PageHead(Payload):
    """What is known of a page besides its elements; see `activities.http.FetchedPage`."""

    next: PageState | None = None
    status: int = 200
    headers: dict[str, str] = {}
    deliver: bool = True
    echoed: tuple[str, ...] = ()


class FetchedPages(BulkPayload):
    """Pages that follow one another, at least one; `bulk` holds the elements of each."""

    heads: tuple[PageHead, ...]

    def holds_secret(self) -> bool:
        """See base class."""
        return any(head.echoed for head in self.heads)

    def items(self, index: int) -> list[Any]:
        """Return the elements of a page."""
        items: list[Any] = decoded(self.bulk[index])
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
        failure.

        Raises:
            UpstreamError: As `HttpActivities.fetch_page`, for the first page.
            InvalidInputError: As `HttpActivities.fetch_page`.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + call.seconds
        heads: list[PageHead] = []
        bulk: list[bytes] = []
        state, size = call.state, 0
        async with heartbeating():
            while True:
                number = call.number + len(heads)
                wanted = call.model_copy(update={"state": state, "number": number})
                try:
                    page = await self._http.page(wanted)
                except (Exception, asyncio.CancelledError):
                    if not heads:
                        raise
                    break
                heads.append(_head(page))
                bulk.append(encoded(page.items))
                state, size = page.next, size + len(bulk[-1])
                is_enough = len(heads) >= call.pages or size >= call.size or loop.time() >= end
                if state is None or is_enough or activity.is_worker_shutdown():
                    break
        return FetchedPages(heads=tuple(heads), bulk=tuple(bulk))


def _head(page: Page) -> PageHead:
    return PageHead(
        next=page.next,
        status=page.status,
        headers={k: v for k, v in page.headers.items() if k != _COOKIES},
        deliver=page.deliver,
        echoed=page.echoed,
    )
