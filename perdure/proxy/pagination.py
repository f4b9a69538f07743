"""Paginated reads as a state machine: a request, options and a small state make the next request.

`PageState` is all that a read needs to go on after a crash; it is small, serialisable and grows
with nothing. Every read ends: a cursor or link that comes back, and a page that repeats because the
provider ignores the parameter, are found out and said, instead of being read for ever.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import assert_never

from pydantic import BaseModel, ConfigDict, JsonValue

from perdure.errors import InvalidInputError, UpstreamError
from perdure.proxy.json_path import MISSING, Missing, describe, lookup
from perdure.proxy.redaction import MASK, Redactor
from perdure.proxy.requests import (
    CursorPaginate,
    HttpRequest,
    LinkPaginate,
    OffsetPaginate,
    Paginate,
    Params,
)
from perdure.proxy.urls import drop_query, query_pairs

__all__ = ["Page", "PageState", "extract_items", "next_page", "page_request", "shown_place"]

Cursor = str | int | float

_LINK_VALUE = re.compile(r"<([^>]*)>((?:\s*;\s*[^\s=;,]+(?:\s*=\s*(?:\"[^\"]*\"|[^\s;,\"]*))?)*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]*))", re.IGNORECASE)


class PageState(BaseModel):
    """Which page comes next.

    Attributes:
        number: 1 for the first page.
        cursor: Cursor to send.
        link: URL to follow, as the provider wrote it.
        offset: Offset to send.
        previous_page: Fingerprint of the page before.
        anchor: An earlier cursor or link; meeting it again shows that the read goes in a circle.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int = 1
    cursor: Cursor | None = None
    link: str | None = None
    offset: int | None = None
    previous_page: str | None = None
    anchor: str | None = None

    @property
    def next_page_param(self) -> Cursor | None:
        """The cursor, link or offset, as `on_page` callbacks get it."""
        return next((v for v in (self.cursor, self.link, self.offset) if v is not None), None)


@dataclass(frozen=True, slots=True)
class Page:
    """One page that was read.

    Attributes:
        items: Its elements.
        next: State of the page after it, None after the last one.
        status: HTTP status.
        headers: Headers with lower-case names.
        deliver: Whether the script gets this page: empty pages are handed out only when the
            provider paginates by links.
        echoed: Credentials of the connection that the answer repeats.
        by_orjson: Whether the elements are as orjson reads them from JSON that it wrote of them.
    """

    items: list[JsonValue]
    next: PageState | None
    status: int
    headers: Mapping[str, str]
    deliver: bool
    echoed: tuple[str, ...] = ()
    by_orjson: bool = False


def page_request(
    request: HttpRequest, paginate: Paginate, state: PageState | None = None
) -> HttpRequest:
    """Return the request of a page.

    Args:
        request: The request as its author made it. A parameter of his own wins over `limit`, and
            over the cursor or offset of the first page.
        paginate: Options of the read.
        state: Which page; None is the first.

    Raises:
        InvalidInputError: If parameters belong into the body and the body is not an object.
    """
    state = state or PageState()
    added: dict[str, Cursor] = {}
    if paginate.limit is not None and paginate.limit_name_in_request is not None:
        name = paginate.limit_name_in_request
        if _own(request, paginate, name) is MISSING:
            added[name] = paginate.limit
    match paginate:
        case CursorPaginate():
            if state.cursor is not None:
                added[paginate.cursor_name_in_request] = state.cursor
        case LinkPaginate():
            if state.link is not None:
                return request.model_copy(update={"next_link": state.link, "params": {}})
        case OffsetPaginate():
            added[paginate.offset_name_in_request] = _offset(request, paginate, state)
        case _:
            assert_never(paginate)
    return _with_parameters(request, added, in_body=_in_body(request, paginate))


def extract_items(body: JsonValue, paginate: Paginate) -> list[JsonValue]:
    """Return the elements of a page.

    Raises:
        UpstreamError: With code `unexpected_response`, if no list stands at `response_path`.
    """
    path = paginate.response_path
    found = body if path is None else lookup(body, path)
    if isinstance(found, list):
        return found
    if found is None or (found is MISSING and paginate.empty_when_missing):
        return []
    if path is None:
        raise UpstreamError(
            f"The page is {describe(body)}, not a list. Set response_path to the place of the "
            "list in it.",
            code="unexpected_response",
        )
    if found is MISSING:
        raise UpstreamError(
            f"Nothing stands at the response_path {path!r} of the page, which is "
            f"{describe(body)}. If the provider leaves empty lists out, set empty_when_missing.",
            code="unexpected_response",
        )
    raise UpstreamError(
        f"At the response_path {path!r} of the page stands {describe(found)}, not a list.",
        code="unexpected_response",
    )


def next_page(
    request: HttpRequest,
    paginate: Paginate,
    state: PageState | None,
    *,
    body: JsonValue,
    headers: Mapping[str, str],
    items: list[JsonValue],
    secret_params: Collection[str] = (),
) -> PageState | None:
    """Return the state of the page after one that was read, None after the last.

    Args:
        request: The request as its author made it.
        paginate: Options of the read.
        state: State of the page that was read; None is the first.
        body: Its decoded body.
        headers: Its headers with lower-case names.
        items: Its elements.
        secret_params: Query parameters with credentials, which must not stay in a link; they are
            added anew to each request.

    Raises:
        UpstreamError: With code `pagination_loop` if the pages go in a circle, and
            `unexpected_response` if there are more pages but no way to them.
    """
    state = state or PageState()
    has_more = _has_more(body, paginate)
    if has_more is False:
        return None
    match paginate:
        case CursorPaginate():
            return _next_cursor(paginate, state, body, items, has_more=bool(has_more))
        case LinkPaginate():
            link = _link(paginate, body, headers)
            link = None if link is None else drop_query(link, secret_params)
            return _next_link(state, link, has_more=bool(has_more))
        case OffsetPaginate():
            return _next_offset(request, paginate, state, items, has_more=bool(has_more))
        case _:
            assert_never(paginate)


def shown_place(state: PageState | None) -> str | None:
    """Return where a page begins as people may see it: links carry tokens of their own."""
    cursor = None if state is None else state.next_page_param
    if not isinstance(cursor, str) or not {"?", ":"} & set(cursor):
        return None if cursor is None else str(cursor)
    try:
        return Redactor().url(cursor)
    except ValueError:
        return MASK


def _next_cursor(
    paginate: CursorPaginate,
    state: PageState,
    body: JsonValue,
    items: list[JsonValue],
    *,
    has_more: bool,
) -> PageState | None:
    if not items and not has_more:
        return None
    if paginate.cursor_path_in_last_item is not None:
        place = f"{paginate.cursor_path_in_last_item!r} of the last element"
        found = lookup(items[-1], paginate.cursor_path_in_last_item) if items else MISSING
    else:
        place = repr(paginate.cursor_path_in_response)
        found = lookup(body, paginate.cursor_path_in_response or "")
    cursor = found.strip() if isinstance(found, str) else found
    if isinstance(cursor, bool) or not isinstance(cursor, str | int | float) or cursor == "":
        if has_more:
            raise _no_way_on(place)
        return None
    this_page = _fingerprint(items)
    if cursor == state.cursor:
        if this_page is not None and this_page == state.previous_page:
            raise _loop(f"the provider ignores {paginate.cursor_name_in_request!r}")
        return None
    return _advanced(state, str(cursor), cursor=cursor, previous_page=this_page)


def _next_link(state: PageState, link: str | None, *, has_more: bool) -> PageState | None:
    if link is None:
        if has_more:
            raise _no_way_on("the place of the link")
        return None
    if link == state.link:
        return None
    return _advanced(state, link, link=link)


def _next_offset(
    request: HttpRequest,
    paginate: OffsetPaginate,
    state: PageState,
    items: list[JsonValue],
    *,
    has_more: bool,
) -> PageState | None:
    if not items:
        return None
    limit = _limit(request, paginate)
    if limit is not None and len(items) < limit and not has_more:
        return None
    this_page = _fingerprint(items)
    if this_page is not None and this_page == state.previous_page:
        raise _loop(f"the provider ignores {paginate.offset_name_in_request!r}")
    step = 1 if paginate.offset_calculation_method == "per-page" else len(items)
    return PageState(
        number=state.number + 1,
        offset=_offset(request, paginate, state) + step,
        previous_page=this_page,
    )


def _advanced(state: PageState, position: str, **update: Cursor | None) -> PageState:
    """Move to a cursor or link, comparing it with an anchor that moves on at each power of two.

    A circle of any length is met at last, with one remembered position (Brent's algorithm).
    """
    if position == state.anchor:
        raise _loop("the provider leads back to a page that was read before")
    number = state.number + 1
    is_power_of_two = number & (number - 1) == 0
    anchor = position if is_power_of_two else state.anchor
    return PageState.model_validate({"number": number, "anchor": anchor, **update})


def _has_more(body: JsonValue, paginate: Paginate) -> bool | None:
    """Return what the flag says, None when there is no flag."""
    if paginate.has_more_path_in_response is None:
        return None
    flag = lookup(body, paginate.has_more_path_in_response)
    if flag is MISSING or flag is None:
        return None
    if isinstance(flag, str):
        return flag.strip().lower() not in {"", "0", "false", "no"}
    return bool(flag)


def _link(paginate: LinkPaginate, body: JsonValue, headers: Mapping[str, str]) -> str | None:
    link: object = None
    if paginate.link_rel_in_response_header:
        link = _header_link(headers.get("link", ""), paginate.link_rel_in_response_header)
    if not link and paginate.link_path_in_response_body:
        link = lookup(body, paginate.link_path_in_response_body)
    return link if isinstance(link, str) and link.strip() else None


def _header_link(header: str, relation: str) -> str | None:
    for target, parameters in _LINK_VALUE.findall(header):
        found = _REL.search(parameters)
        if found and relation.lower() in (found[1] or found[2] or "").lower().split():
            return str(target)
    return None


def _fingerprint(items: list[JsonValue]) -> str | None:
    """Tell pages apart by length, first and last element: cheap, and enough for records.

    Pages of equal elements, which have no identity of their own, have no fingerprint either.
    """
    if len(items) > 1 and items[0] == items[-1]:
        return None
    ends = repr((len(items), items[:1], items[-1:]))
    return hashlib.blake2b(ends.encode(errors="replace"), digest_size=8).hexdigest()


def _in_body(request: HttpRequest, paginate: Paginate) -> bool:
    if paginate.in_body is not None:
        return paginate.in_body
    return request.method in {"POST", "PUT", "PATCH"}


def _offset(request: HttpRequest, paginate: OffsetPaginate, state: PageState) -> int:
    if state.offset is not None:
        return state.offset
    given = _own_number(request, paginate, paginate.offset_name_in_request)
    return paginate.offset_start_value if given is None else given


def _limit(request: HttpRequest, paginate: Paginate) -> int | None:
    name = paginate.limit_name_in_request
    given = None if name is None else _own_number(request, paginate, name)
    return paginate.limit if given is None else given


def _own(request: HttpRequest, paginate: Paginate, name: str) -> JsonValue | Missing:
    """Return what the author set for a parameter himself."""
    if _in_body(request, paginate):
        return lookup(request.data, name)
    return dict(query_pairs(request.params)).get(name, MISSING)


def _own_number(request: HttpRequest, paginate: Paginate, name: str) -> int | None:
    value = _own(request, paginate, name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def _with_parameters(
    request: HttpRequest, added: Mapping[str, Cursor], *, in_body: bool
) -> HttpRequest:
    if not added:
        return request
    if not in_body:
        texts = {name: str(value) for name, value in added.items()}
        return request.model_copy(update={"params": {**_as_mapping(request.params), **texts}})
    if request.data is not None and not isinstance(request.data, dict):
        raise InvalidInputError(
            "The parameters of this pagination go into the body, so `data` must be an object; it "
            f"is {describe(request.data)}. Set in_body to false to send them in the query.",
            code="invalid_pagination",
        )
    data: JsonValue = request.data
    for name, value in added.items():
        data = _with_value(data, name.split("."), value)
    return request.model_copy(update={"data": data})


def _as_mapping(params: Params) -> Mapping[str, object]:
    if not isinstance(params, str):
        return params
    mapping: dict[str, list[str]] = {}
    for name, value in query_pairs(params):
        mapping.setdefault(name, []).append(value)
    return mapping


def _with_value(data: JsonValue, path: list[str], value: Cursor) -> dict[str, JsonValue]:
    name, *rest = path
    below = dict(data) if isinstance(data, dict) else {}
    below[name] = _with_value(below.get(name), rest, value) if rest else value
    return below


def _no_way_on(place: str) -> UpstreamError:
    return UpstreamError(
        f"The page says that there are more, but no cursor or link stands at {place}. Correct the "
        "pagination options.",
        code="unexpected_response",
    )


def _loop(reason: str) -> UpstreamError:
    return UpstreamError(
        f"The pages go in a circle: {reason}. Correct the pagination options.",
        code="pagination_loop",
    )
