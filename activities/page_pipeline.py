"""Pages of which one is fetched while others are mapped and saved, each in its turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from perdure.proxy.pagination import Page, PageState

__all__ = ["PagePipeline"]

MappedT = TypeVar("MappedT")

# Pages that may be mapped or saved while the next one is waited for.
_WAITING = 2


class PagePipeline(Generic[MappedT]):
    """Keeps pages under way, four at most.

    While a page is on its way to the database the next one waits to be sent after it, the one
    behind that is mapped and one more is fetched. Each is saved as soon as those before it are. As
    a context it leaves nothing under way: in the end all pages that came are saved, and where
    something failed what is being saved is, and the rest is dropped.

    Args:
        first: Fetches the first page.
        map_page: Makes of a page and its number what can be saved.
        save: Saves that; it is given the place of the next page, and the page's number.
    """

    def __init__(
        self,
        first: Coroutine[Any, Any, Page],
        map_page: Callable[[Page, int], Coroutine[Any, Any, MappedT]],
        save: Callable[[MappedT, PageState | None, int], Awaitable[None]],
    ) -> None:
        self._map = map_page
        self._save = save
        self._coming = asyncio.create_task(first)
        self._mapping: deque[asyncio.Task[MappedT]] = deque(maxlen=_WAITING + 1)
        self._saving: deque[asyncio.Task[None]] = deque()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                await self._drained()
        finally:
            begun = (self._coming, *self._mapping)
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, *self._saving, return_exceptions=True)

    def ask(self, page: Coroutine[Any, Any, Page]) -> None:
        """Begin to fetch the next page."""
        self._coming = asyncio.create_task(page)

    async def arrived(self) -> Page:
        """Wait for the page that was asked for.

        Raises:
            Exception: What it failed with, once the pages before it are saved; or what one of
                these failed with.
        """
        await asyncio.wait((self._coming, self._failed), return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            await self._drained()
        try:
            return await self._coming
        except Exception:
            # What is there is not lost to what comes after it.
            await self._drained()
            raise

    def take_on(self, page: Page, number: int) -> asyncio.Task[MappedT]:
        """Begin to map a page, and to save it behind those before it; returns the mapping."""
        mapping = asyncio.create_task(self._map(page, number))
        before = self._saving[-1] if self._saving else None
        saving = asyncio.create_task(self._saved(mapping, before, page.next, number))
        saving.add_done_callback(self._note)
        self._mapping.append(mapping)
        self._saving.append(saving)
        return mapping

    async def make_room(self) -> None:
        """Wait until the next page may be waited for.

        Raises:
            Exception: What the first page failed with; those behind it are not saved.
        """
        await self._drained(but=_WAITING)

    async def _drained(self, *, but: int = 0) -> None:
        while len(self._saving) > but:
            await asyncio.shield(self._saving[0])
            self._saving.popleft()

    async def _saved(
        self,
        mapping: asyncio.Task[MappedT],
        before: asyncio.Task[None] | None,
        following: PageState | None,
        number: int,
    ) -> None:
        mapped = await mapping
        if before is not None:
            await asyncio.shield(before)
        await self._save(mapped, following, number)

    def _note(self, saving: asyncio.Task[None]) -> None:
        if (saving.cancelled() or saving.exception()) and not self._failed.done():
            self._failed.set_result(None)
