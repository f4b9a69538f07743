import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import InvalidInputError, UpstreamError
from perdure.proxy.pagination import PageState, extract_items, next_page, page_request
from perdure.proxy.requests import HttpRequest, Paginate, merge_paginate

Answer = tuple[Any, dict[str, str]]
Api = Callable[[HttpRequest], Answer]

CURSOR: dict[str, Any] = {
    "type": "cursor",
    "cursor_name_in_request": "after",
    "cursor_path_in_response": "next",
    "response_path": "items",
}
OFFSET: dict[str, Any] = {"type": "offset", "offset_name_in_request": "offset"}
LINK: dict[str, Any] = {"type": "link", "link_rel_in_response_header": "next"}


def options(*parts: dict[str, Any], **more: Any) -> Paginate:
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= part
    return merge_paginate(None, {**merged, **more})


def read(api: Api, request: HttpRequest, paginate: Paginate) -> Iterator[list[Any]]:
    """Read as the engine does, with the state going through JSON between pages."""
    state: PageState | None = PageState()
    while state is not None:
        state = PageState.model_validate_json(state.model_dump_json())
        body, headers = api(page_request(request, paginate, state))
        items = extract_items(body, paginate)
        yield items
        state = next_page(request, paginate, state, body=body, headers=headers, items=items)


def all_items(api: Api, request: HttpRequest, paginate: Paginate) -> list[Any]:
    return [item for page in read(api, request, paginate) for item in page]


def records(count: int) -> list[dict[str, int]]:
    return [{"id": number} for number in range(count)]


GET = HttpRequest(endpoint="/things", params={"q": "x"})
POST = HttpRequest(method="POST", endpoint="/search", data={"page": {"size": 2}})


# Merging


def test_override_wins_over_the_providers_options() -> None:
    merged = merge_paginate({**CURSOR, "limit": 100, "limit_name_in_request": "n"}, {"limit": 5})
    assert merged.limit == 5
    assert merged.response_path == "items"


def test_options_may_be_given_complete() -> None:
    override = options(OFFSET, limit=3)
    assert merge_paginate({"limit": 9, "in_body": False}, override) == options(
        OFFSET, limit=3, in_body=False
    )


def test_one_place_of_the_cursor_replaces_the_other() -> None:
    default = {**CURSOR, "cursor_path_in_last_item": "id"}
    del default["cursor_path_in_response"]
    merged = merge_paginate(default, {"cursor_path_in_response": "next_page"})
    assert merged == options(CURSOR, cursor_path_in_response="next_page")


def test_limit_may_be_text() -> None:
    assert options(OFFSET, limit="20").limit == 20


def test_unknown_options_are_tolerated() -> None:
    assert options(OFFSET, on_page=None, later="x") == options(OFFSET)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "must say how to paginate"),
        ({"type": "magic"}, "'magic'"),
        ({"limit": 5}, "type"),
        ({"type": "cursor", "cursor_path_in_response": "n"}, "cursor_name_in_request"),
        ({"type": "cursor", "cursor_name_in_request": "c"}, "cursor_path_in_response"),
        ({**CURSOR, "cursor_path_in_last_item": "id"}, "set one of"),
        ({"type": "link"}, "link_rel_in_response_header"),
        ({**CURSOR, "limit": 5}, "limit needs limit_name_in_request"),
        ({**OFFSET, "limit": 0}, "limit"),
        ({**OFFSET, "offset_calculation_method": "by-magic"}, "offset_calculation_method"),
    ],
)
def test_options_that_do_not_fit_are_refused(given: dict[str, Any] | None, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told) as raised:
        merge_paginate(None, given)
    assert raised.value.code == "invalid_pagination"


# Where the list is


@pytest.mark.parametrize(
    ("body", "path", "items"),
    [
        ([1], None, [1]),
        ([1], "", [1]),
        ({"items": [1]}, "items", [1]),
        ({"data": {"list": [1]}}, "data.list", [1]),
        ({"data": [{"list": [1]}]}, "data.0.list", [1]),
        ({"data.list": [1]}, "data.list", [1]),
        ({"a": {"odata.value": [1]}}, "a.odata.value", [1]),
        ({"items": None}, "items", []),
        (None, None, []),
    ],
)
def test_list_is_found(body: Any, path: str | None, items: list[Any]) -> None:
    assert extract_items(body, options(OFFSET, response_path=path)) == items


@pytest.mark.parametrize(
    ("body", "path", "told"),
    [
        ({"itms": [1], "total": 2}, "items", "'items'.*keys 'itms', 'total'"),
        ({}, "items", "an empty object"),
        ({"items": {"a": 1}}, "items", "'items' of the page stands an object with the keys 'a'"),
        ({"items": "x"}, "items", "stands text, not a list"),
        ({"data": []}, None, "keys 'data', not a list. Set response_path"),
        ("<html>", None, "text, not a list"),
        ([[1]], "0.1", "'0.1'"),
        ({f"k{n}": n for n in range(25)}, "items", "and 5 more"),
    ],
)
def test_missing_list_is_an_error_that_names_what_is_there(
    body: Any, path: str | None, told: str
) -> None:
    with pytest.raises(UpstreamError, match=told) as raised:
        extract_items(body, options(OFFSET, response_path=path))
    assert raised.value.code == "unexpected_response"
    assert not raised.value.retryable


def test_left_out_list_is_an_empty_page_if_the_options_say_so() -> None:
    paginate = options(CURSOR, empty_when_missing=True)
    assert extract_items({"estimate": 0}, paginate) == []


# Cursor


def cursor_api(count: int, size: int) -> Api:
    def answer(request: HttpRequest) -> Answer:
        assert isinstance(request.params, dict)
        start = int(str(request.params.get("after", 0)))
        following = start + size if start + size < count else None
        return {"items": records(count)[start : start + size], "next": following}, {}

    return answer


@given(count=st.integers(0, 60), size=st.integers(1, 15))
def test_cursor_reads_everything_once(count: int, size: int) -> None:
    assert all_items(cursor_api(count, size), GET, options(CURSOR)) == records(count)


def test_cursor_goes_into_the_query_beside_the_authors_parameters() -> None:
    paginate = options(CURSOR, limit=50, limit_name_in_request="n")
    first = page_request(GET, paginate)
    second = page_request(GET, paginate, PageState(number=2, cursor="abc"))
    assert first.params == {"q": "x", "n": "50"}
    assert second.params == {"q": "x", "n": "50", "after": "abc"}


def test_parameters_given_as_text_are_kept() -> None:
    request = HttpRequest(endpoint="/x", params="?a=1&b=2&a=3&empty=")
    asked = page_request(request, options(CURSOR), PageState(cursor="c"))
    assert asked.params == {"a": ["1", "3"], "b": ["2"], "empty": [""], "after": "c"}


def test_authors_own_parameter_starts_the_read_and_wins_over_the_limit() -> None:
    request = HttpRequest(endpoint="/x", params={"after": "start", "n": 7})
    paginate = options(CURSOR, limit=50, limit_name_in_request="n")
    assert page_request(request, paginate).params == {"after": "start", "n": 7}
    second = page_request(request, paginate, PageState(number=2, cursor="c2"))
    assert second.params == {"after": "c2", "n": 7}


def test_cursor_goes_into_the_body_of_a_post_with_dots_expanded() -> None:
    paginate = options(
        CURSOR,
        cursor_name_in_request="page.after",
        limit=5,
        limit_name_in_request="page.size_max",
    )
    asked = page_request(POST, paginate, PageState(cursor=17))
    assert asked.data == {"page": {"size": 2, "size_max": 5, "after": 17}}
    assert asked.params == {}
    assert POST.data == {"page": {"size": 2}}


@pytest.mark.parametrize(("request_", "in_body"), [(GET, True), (POST, False)])
def test_place_of_the_parameters_can_be_chosen(request_: HttpRequest, in_body: bool) -> None:
    asked = page_request(request_, options(CURSOR, in_body=in_body), PageState(cursor="c"))
    place = asked.data if in_body else asked.params
    assert isinstance(place, dict)
    assert place["after"] == "c"


def test_body_that_is_no_object_cannot_take_parameters() -> None:
    request = HttpRequest(method="POST", endpoint="/x", data=[1])
    with pytest.raises(InvalidInputError, match="a list of 1"):
        page_request(request, options(CURSOR), PageState(cursor="c"))


def after(paginate: Paginate, body: Any, state: PageState | None = None, **h: str) -> Any:
    items = extract_items(body, paginate)
    return next_page(GET, paginate, state, body=body, headers=h, items=items)


@pytest.mark.parametrize("cursor", [None, "", "  ", False, True, {"x": 1}, []])
def test_no_usable_cursor_ends_the_read(cursor: Any) -> None:
    assert after(options(CURSOR), {"items": [1], "next": cursor}) is None


@pytest.mark.parametrize(("cursor", "sent"), [(0, 0), (7, 7), (1.5, 1.5), (" a ", "a")])
def test_text_and_numbers_are_cursors(cursor: Any, sent: Any) -> None:
    state = after(options(CURSOR), {"items": [1], "next": cursor})
    assert state.cursor == sent
    assert state.next_page_param == sent
    assert type(PageState.model_validate_json(state.model_dump_json()).cursor) is type(sent)


def test_empty_page_ends_the_read_unless_a_flag_says_that_there_is_more() -> None:
    body = {"items": [], "next": "c", "more": True}
    assert after(options(CURSOR), body) is None
    flagged = options(CURSOR, has_more_path_in_response="more")
    assert after(flagged, body).cursor == "c"


@pytest.mark.parametrize("flag", [False, 0, "false", "0", ""])
def test_flag_ends_the_read_although_there_is_a_cursor(flag: Any) -> None:
    paginate = options(CURSOR, has_more_path_in_response="meta.more")
    assert after(paginate, {"items": [1], "next": "c", "meta": {"more": flag}}) is None


def test_flag_that_is_left_out_decides_nothing() -> None:
    paginate = options(CURSOR, has_more_path_in_response="more")
    assert after(paginate, {"items": [1], "next": "c"}).cursor == "c"
    assert after(paginate, {"items": [1]}) is None


def test_more_pages_without_a_way_to_them_are_an_error() -> None:
    paginate = options(CURSOR, has_more_path_in_response="more")
    with pytest.raises(UpstreamError, match="'next'") as raised:
        after(paginate, {"items": [1], "more": True})
    assert raised.value.code == "unexpected_response"


LAST_ITEM: dict[str, Any] = {
    "type": "cursor",
    "cursor_name_in_request": "starting_after",
    "cursor_path_in_last_item": "id",
    "has_more_path_in_response": "has_more",
    "response_path": "data",
}


@given(count=st.integers(0, 60), size=st.integers(1, 15))
def test_list_that_goes_on_after_its_last_id_is_read_once(count: int, size: int) -> None:
    def answer(request: HttpRequest) -> Answer:
        assert isinstance(request.params, dict)
        start = int(str(request.params.get("starting_after", -1))) + 1
        page = records(count)[start : start + size]
        return {"data": page, "has_more": start + size < count}, {}

    assert all_items(answer, GET, options(LAST_ITEM)) == records(count)


def test_same_cursor_at_the_end_ends_the_read() -> None:
    pages = iter([{"items": [{"id": 1}], "next": "z"}, {"items": [{"id": 2}], "next": "z"}])
    assert all_items(lambda _: (next(pages), {}), GET, options(CURSOR)) == [{"id": 1}, {"id": 2}]


def test_provider_that_ignores_the_cursor_is_found_out() -> None:
    with pytest.raises(UpstreamError, match="ignores 'after'") as raised:
        all_items(lambda _: ({"items": records(3), "next": "z"}, {}), GET, options(CURSOR))
    assert raised.value.code == "pagination_loop"


@given(before=st.integers(0, 20), length=st.integers(2, 20))
def test_circle_of_cursors_is_found_out(before: int, length: int) -> None:
    asked = 0

    def answer(request: HttpRequest) -> Answer:
        nonlocal asked
        asked += 1
        assert isinstance(request.params, dict)
        here = int(str(request.params.get("after", 0)))
        following = here + 1 if here + 1 < before + length else before
        return {"items": [{"id": here}], "next": str(following)}, {}

    with pytest.raises(UpstreamError) as raised:
        all_items(answer, GET, options(CURSOR))
    assert raised.value.code == "pagination_loop"
    assert asked <= 4 * (before + length)


def test_state_stays_small_however_long_the_read() -> None:
    sizes = []
    state: PageState | None = None
    for number in range(1, 2000):
        body = {"items": [{"id": number}], "next": f"cursor-{number:06}"}
        state = after(options(CURSOR), body, state)
        assert state is not None
        sizes.append(len(state.model_dump_json()))
    assert max(sizes) < 200


# Link


def github(pages: int) -> Api:
    def answer(request: HttpRequest) -> Answer:
        link = request.next_link
        number = int(link.rpartition("=")[2]) if link else 1
        base = "https://api.github.test/things?q=x&page="
        links = [f'<{base}1>; rel="first"', f'<{base}{pages}>; title="a, b"; rel=last']
        if number < pages:
            links.insert(0, f'<{base}{number + 1}>; rel="prefetch NEXT"')
        return [{"id": number}], {"link": ", ".join(links)}

    return answer


@given(pages=st.integers(1, 30))
def test_link_header_is_followed_to_the_end(pages: int) -> None:
    read_ids = [item["id"] for item in all_items(github(pages), GET, options(LINK))]
    assert read_ids == list(range(1, pages + 1))


def test_link_takes_the_place_of_endpoint_and_parameters() -> None:
    paginate = options(LINK, limit=10, limit_name_in_request="per_page")
    assert page_request(GET, paginate).params == {"q": "x", "per_page": "10"}
    asked = page_request(GET, paginate, PageState(number=2, link="/things?page=2"))
    assert asked.next_link == "/things?page=2"
    assert asked.params == {}


def test_header_wins_and_the_body_is_the_fallback() -> None:
    paginate = options(LINK, link_path_in_response_body="paging.next", response_path="items")
    body = {"items": [], "paging": {"next": "/from-body"}}
    header = '</from-header>; rel="next"'
    assert after(paginate, body, link=header).link == "/from-header"
    assert after(paginate, body, link='</other>; rel="prev"').link == "/from-body"
    assert after(paginate, body).next_page_param == "/from-body"


@pytest.mark.parametrize("link", [None, "", " ", 5, {"href": "/x"}])
def test_no_link_ends_the_read(link: Any) -> None:
    paginate = options(type="link", link_path_in_response_body="next", response_path="items")
    assert after(paginate, {"items": [1], "next": link}) is None


def test_link_that_does_not_move_ends_the_read() -> None:
    paginate = options(type="link", link_path_in_response_body="next", response_path="items")
    state = PageState(number=2, link="/x?page=2")
    assert after(paginate, {"items": [1], "next": "/x?page=2"}, state) is None


def test_circle_of_links_is_found_out() -> None:
    def answer(request: HttpRequest) -> Answer:
        return [{"id": 1}], {"link": f"</{'b' if request.next_link == '/a' else 'a'}>; rel=next"}

    with pytest.raises(UpstreamError) as raised:
        all_items(answer, GET, options(LINK))
    assert raised.value.code == "pagination_loop"


@given(st.text(alphabet='<>;,="rel next/', max_size=60))
def test_any_link_header_is_read_without_an_error(header: str) -> None:
    state = after(options(LINK), [1], None, link=header)
    assert state is None or isinstance(state, PageState)


# Offset


def offset_api(count: int, size: int, *, pages: bool = False) -> Api:
    def answer(request: HttpRequest) -> Answer:
        assert isinstance(request.params, dict)
        offset = request.params["offset"]
        assert isinstance(offset, str)
        start = (int(offset) - 1) * size if pages else int(offset)
        return records(count)[start : start + size], {}

    return answer


@given(count=st.integers(0, 60), size=st.integers(1, 15), limited=st.booleans())
def test_offset_by_response_size_reads_everything_once(
    count: int, size: int, limited: bool
) -> None:
    limit = {"limit": size, "limit_name_in_request": "n"} if limited else {}
    assert all_items(offset_api(count, size), GET, options(OFFSET, limit)) == records(count)


@given(count=st.integers(0, 60), size=st.integers(1, 15))
def test_offset_per_page_reads_everything_once(count: int, size: int) -> None:
    paginate = options(OFFSET, offset_calculation_method="per-page", offset_start_value=1)
    assert all_items(offset_api(count, size, pages=True), GET, paginate) == records(count)


def test_page_shorter_than_the_limit_is_the_last_request() -> None:
    paginate = options(OFFSET, limit=10, limit_name_in_request="n")
    assert [len(page) for page in read(offset_api(14, 10), GET, paginate)] == [10, 4]


def test_limit_of_the_author_counts_for_the_short_page() -> None:
    request = HttpRequest(endpoint="/x", params={"n": 5})
    paginate = options(OFFSET, limit=10, limit_name_in_request="n")
    assert all_items(offset_api(14, 5), request, paginate) == records(14)


def test_flag_lets_a_short_page_be_followed() -> None:
    paginate = options(
        OFFSET,
        limit=10,
        limit_name_in_request="n",
        response_path="items",
        has_more_path_in_response="more",
    )
    assert after(paginate, {"items": [1], "more": True}).offset == 1
    assert after(paginate, {"items": [1]}) is None


def test_offset_is_text_in_the_query_and_a_number_in_the_body() -> None:
    assert page_request(GET, options(OFFSET)).params == {"q": "x", "offset": "0"}
    asked = page_request(POST, options(OFFSET, offset_name_in_request="page.from"))
    assert asked.data == {"page": {"size": 2, "from": 0}}


@pytest.mark.parametrize("start", [40, "40"])
def test_offset_of_the_author_starts_the_read(start: Any) -> None:
    request = HttpRequest(endpoint="/x", params={"offset": start})
    paginate = options(OFFSET)
    assert page_request(request, paginate).params == {"offset": "40"}
    state = next_page(request, paginate, None, body=[1, 2], headers={}, items=[1, 2])
    assert state is not None
    assert state.offset == 42


def test_provider_that_ignores_the_offset_is_found_out() -> None:
    with pytest.raises(UpstreamError, match="ignores 'offset'") as raised:
        all_items(lambda _: (records(5), {}), GET, options(OFFSET))
    assert raised.value.code == "pagination_loop"


def test_equal_elements_without_identity_are_not_taken_for_a_circle() -> None:
    pages = iter([[0, 0, 0], [0, 0, 0], [0, 0]])
    paginate = options(OFFSET, limit=3, limit_name_in_request="n")
    assert all_items(lambda _: (next(pages), {}), GET, paginate) == [0] * 8


def test_state_tolerates_fields_of_later_versions() -> None:
    text = json.dumps({"number": 3, "cursor": "c", "added_later": 1})
    assert PageState.model_validate_json(text) == PageState(number=3, cursor="c")
