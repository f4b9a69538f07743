"""Pages that a step has fetched are handed to the script on the same worker as they are."""

from __future__ import annotations

import math
from typing import Any, cast

from pydantic import JsonValue
from temporalio.testing import ActivityEnvironment

from activities.connections import ConnectionRef
from activities.http import FetchPageInput, HttpActivities
from activities.page_slices import FetchedPages, FetchPagesInput, PageSliceActivities
from perdure.crypto.keyring import KeyRing, new_key
from perdure.proxy.pagination import Page
from perdure.proxy.requests import HttpRequest
from perdure.temporal.converter import worker_converter
from perdure.temporal.external_storage import PostgresStorageDriver
from tests.support.blobs import Blobs

# Nothing smaller leaves the history.
LONG = "é" * 20_000


class OnePage:
    """Stands for the API: its only page."""

    def __init__(self, items: list[JsonValue], by_orjson: bool, echoed: tuple[str, ...]) -> None:
        self._page = Page(items, None, 200, {}, deliver=True, by_orjson=by_orjson, echoed=echoed)

    async def page(self, call: FetchPageInput) -> Page:
        return self._page


async def fetched(
    items: list[Any], *, by_orjson: bool = True, echoed: tuple[str, ...] = ()
) -> FetchedPages:
    """Return what the script's worker has of a page, once it has travelled."""
    http = cast("HttpActivities", OnePage(items, by_orjson, echoed))
    ref = ConnectionRef(environment_id=1, integration="github", connection_id="a")
    call = FetchPagesInput(connection=ref, request=HttpRequest(endpoint="/issues"))
    pages = await ActivityEnvironment().run(PageSliceActivities(http).fetch_pages, call)
    converter = worker_converter(KeyRing.parse(new_key()), PostgresStorageDriver(Blobs()))
    (travelled,) = await converter.decode(await converter.encode([pages]), [FetchedPages])
    assert isinstance(travelled, FetchedPages)
    return travelled


async def test_a_page_is_handed_over_without_being_decoded_again() -> None:
    items = [{"id": "1", "title": LONG}]
    pages = await fetched(items)
    assert pages.items(0) is items


async def test_a_page_that_is_read_again_is_nobody_elses() -> None:
    pages = await fetched([{"id": "2", "title": LONG}])
    pages.items(0).append("changed by the script")
    assert pages.items(0) == [{"id": "2", "title": LONG}]


async def test_what_the_history_cannot_hold_is_not_handed_over() -> None:
    pages = await fetched([{"id": "3", "weight": math.nan, "title": LONG}], by_orjson=False)
    assert pages.items(0) == [{"id": "3", "weight": None, "title": LONG}]


async def test_a_page_that_repeats_a_credential_is_not_kept_in_clear() -> None:
    items = [{"id": "4", "token": "key-of-the-connection", "title": LONG}]
    pages = await fetched(items, echoed=("key-of-the-connection",))
    assert pages.items(0) == items
    assert pages.items(0) is not items


async def test_pages_as_objects_take_memory_until_they_are_taken() -> None:
    pages = await fetched([{"id": "5", "title": LONG}])
    as_bytes = len(pages.bulk[0])

    before = pages.memory()
    pages.items(0)

    assert before == 9 * as_bytes
    assert pages.memory() == as_bytes
