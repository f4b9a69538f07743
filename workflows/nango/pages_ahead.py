"""Pages that are fetched ahead of the script, as fast as it takes them.

The first page comes alone, so that a script that looks at no other one has caused one request. From
then on slices of pages are asked for, each while the script works through the one before, and each
as long as the script's pace allows: it is given no more at a time than it works through in a
moment, since a workflow must not be busy for long without a pause. Where pages turn out to be
dearer than those before them, there is a pause between two of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.http import FetchedPage
    from activities.page_slices import FetchedPages, PageRefusal
    from perdure.nango import HelperError, HttpError
    from perdure.proxy.pagination import PageState

__all__ = ["FetchSlice", "PagesAhead", "Pauses", "SliceStart"]


@dataclass(frozen=True, slots=True)
class SliceStart:
    """Where a slice of pages begins.

    Attributes:
        state: Where its first page begins; None is the first of all.
        number: Number of that page, counted from 1.
        refusal: Why the page was refused by the slice before, None where it was not.
    """

    state: PageState | None = None
    number: int = 1
    refusal: PageRefusal | None = None


FetchSlice: TypeAlias = Callable[[SliceStart, int], Awaitable[FetchedPages]]
"""Fetches a slice; the number is how many pages it has at most."""

_ASKED_AGAIN = "failed-slices-are-asked-for-again"
_MOST_PAGES = 50
_MOMENT = 0.4
"""Seconds that the script may spend on a slice; a workflow task is given up after two."""
_LONG = 0.8
"""Seconds after which a workflow task hands out no further page."""
_PAUSE = timedelta(milliseconds=1)


class PagesAhead:
    """Reads pages.

    Args:
        fetch: Fetches a slice.
        under_way: Where slices are noted that are being fetched, for whoever gives them up.
        pauses: Those of the workflow.
    """

    def __init__(
        self, fetch: FetchSlice, under_way: list[asyncio.Task[FetchedPages]], pauses: Pauses
    ) -> None:
        self._fetch = fetch
        self._under_way = under_way
        self._pauses = pauses
        self._read = pauses.begin()
        self._size = 1

    async def read(self) -> AsyncIterator[FetchedPage]:
        """Yield one page after the other."""
        start = SliceStart()
        coming: asyncio.Task[FetchedPages] | None = None
        asked_at = 0
        while True:
            if coming is None:
                pages = await self._fetch(start, self._size)
            else:
                pages = await self._arrived(coming, asked_at, start)
            coming = None
            number = start.number
            start = SliceStart(pages.heads[-1].next, start.number + len(pages.heads), pages.refusal)
            if number > 1 and start.state is not None:
                coming = self._ask(start)
                asked_at = _now()
            began = _Moment()
            for index in range(len(pages.heads)):
                await self._pauses.if_long(f"{self._read}-{number + index}")
                yield _page(pages, index)
            if start.state is None:
                return
            self._adapt(len(pages.heads), began.seconds)

    async def _arrived(
        self, coming: asyncio.Task[FetchedPages], asked_at: int, start: SliceStart
    ) -> FetchedPages:
        """Return a slice that was asked for ahead.

        A run that is retried goes on where the step was asked for that failed, and does all again
        that came after. So where the script has gone on since then, a slice that failed is not what
        fails the run: its first page is asked for once more, now that the script waits for it.
        """
        is_later = _now() > asked_at
        try:
            return await coming
        except (HelperError, HttpError):
            if not is_later or not workflow.patched(_ASKED_AGAIN):
                raise
        return await self._fetch(start, 1)

    def _ask(self, start: SliceStart) -> asyncio.Task[FetchedPages]:
        task = asyncio.ensure_future(self._fetch(start, self._size))
        self._under_way.append(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[FetchedPages]) -> None:
        self._under_way.remove(task)
        if not task.cancelled():
            # Who breaks out of the loop never hears how it went.
            task.exception()

    def _adapt(self, pages: int, seconds: float) -> None:
        affordable = _MOST_PAGES if seconds <= 0 else int(_MOMENT * pages / seconds)
        self._size = max(1, min(2 * self._size, affordable, _MOST_PAGES))


class Pauses:
    """Ends workflow tasks in which pages have kept the script busy for long.

    Only the machine's clock tells how long, which says nothing when a history is replayed. So what
    it said is noted in the history, under a name of its own, as changes of the engine are.
    """

    def __init__(self) -> None:
        self._reads = 0
        self._task = -1
        self._began = 0.0

    def begin(self) -> int:
        """Return the number of a read that begins, counted from 1."""
        self._reads += 1
        return self._reads

    async def if_long(self, place: str) -> None:
        """Let the workflow task end, and the next one begin, if it has taken long.

        Args:
            place: Tells calls of a workflow apart.
        """
        if _now() != self._task:
            self._task, self._began = _now(), time.perf_counter()
        is_long = workflow.unsafe.is_replaying() or time.perf_counter() - self._began > _LONG
        if is_long and workflow.patched(f"pause-before-page-{place}"):
            await workflow.sleep(_PAUSE, summary="a pause between pages that take their time")


class _Moment:
    """A moment that time is measured from.

    The run's own clock stands still while the script computes; that of the machine says nothing of
    what a script waited for when a history is replayed. How many pages are asked for is nothing
    that a replay compares.
    """

    def __init__(self) -> None:
        self._workflow, self._machine = workflow.time(), time.perf_counter()

    @property
    def seconds(self) -> float:
        return max(workflow.time() - self._workflow, time.perf_counter() - self._machine)


def _now() -> int:
    """Return at which task of the workflow this is."""
    return workflow.info().get_current_history_length()


def _page(pages: FetchedPages, index: int) -> FetchedPage:
    head = pages.heads[index]
    # It was validated when it was fetched.
    return FetchedPage.model_construct(
        items=pages.items(index),
        next=head.next,
        status=head.status,
        headers=head.headers,
        deliver=head.deliver,
        echoed=head.echoed,
    )
