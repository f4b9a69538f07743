"""Requests of scripts, and the pages of paginated ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import ValidationError
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.http import FetchedPage
    from perdure.nango import HelperError, Pages, RequestOptions, Response, SavedPages
    from perdure.proxy.requests import HttpRequest, HttpResponse

__all__ = ["DurablePages", "ReadPages", "SavePages", "as_request", "as_response"]

ReadPages: TypeAlias = Callable[[HttpRequest, Mapping[str, Any]], AsyncIterator[FetchedPage]]
"""Fetches the pages of a request, given options of its pagination."""


class SavePages(Protocol):
    """Saves or deletes the pages of a request past the script."""

    async def __call__(
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
        """Return what became of them."""
        ...


class DurablePages(Pages):
    """The pages of an endpoint; where the next one begins is kept by the run's history."""

    def __init__(
        self,
        read: ReadPages,
        save: SavePages,
        request: HttpRequest,
        paginate: Mapping[str, Any],
    ) -> None:
        self._read = read
        self._save = save
        self._request = request
        self._paginate = dict(paginate)
        self._on_page = self._paginate.pop("on_page", None)

    async def save(
        self,
        model: str,
        *,
        map: Callable[[Any], Any] | None = None,
        where: Callable[[Any], bool] | None = None,
        on_page: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> SavedPages:
        """See base class."""
        return await self._past_the_script("save", model, map, where, on_page)

    async def delete(
        self,
        model: str,
        *,
        map: Callable[[Any], Any] | None = None,
        where: Callable[[Any], bool] | None = None,
        on_page: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> SavedPages:
        """See base class."""
        return await self._past_the_script("delete", model, map, where, on_page)

    async def _past_the_script(
        self,
        verb: Literal["save", "delete"],
        model: str,
        map_item: Callable[..., Any] | None,
        where: Callable[..., Any] | None,
        on_page: Callable[..., Any] | None,
    ) -> SavedPages:
        return await self._save(
            self._request,
            self._paginate,
            verb,
            model,
            map_item=map_item,
            where=where,
            on_page=on_page or self._on_page,
        )

    async def __aiter__(self) -> AsyncIterator[list[Any]]:
        """Yield each page as a list."""
        async for page in self._read(self._request, self._paginate):
            if page.deliver:
                yield page.items
            if self._on_page is not None:
                response = Response(page.status, page.headers, page.items)
                following = page.next.next_page_param if page.next else None
                await self._on_page({"next_page_param": following, "response": response})


def as_request(endpoint: str, method: str, options: RequestOptions) -> HttpRequest:
    """Return a request as it travels to its step.

    Raises:
        HelperError: `invalid_options`.
    """
    fields: dict[str, Any] = dict(options)
    if "timeout" in fields:
        fields["timeout_s"] = fields.pop("timeout")
    unknown = fields.keys() - HttpRequest.model_fields.keys()
    if unknown:
        msg = f"Unknown request options: {', '.join(sorted(unknown))}"
        raise HelperError(msg, code="invalid_options")
    try:
        return HttpRequest(method=method, endpoint=endpoint, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"Request option {where}: {first['msg']}"
        raise HelperError(msg, code="invalid_options") from error


def as_response(answer: HttpResponse) -> Response:
    """Return an answer as scripts see it."""
    data = answer.content() if answer.is_base64 else answer.data
    return Response(answer.status, answer.headers, data)
