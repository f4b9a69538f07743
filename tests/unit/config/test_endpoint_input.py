"""What an action gets through its endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.endpoint_input import action_input, parse_json
from config.endpoints import EndpointIndex
from config.nango_yaml import parse_nango_yaml
from perdure.errors import InvalidInputError

CONFIG = """
integrations:
  desk:
    actions:
      typed: {endpoint: GET /typed, input: Search}
      loose: {endpoint: GET /loose}
      scalar: {endpoint: GET /scalar, input: number}
      either: {endpoint: GET /either, input: Search | Ticket}
      open: {endpoint: GET /open, input: Counts}
      close:
        endpoint: {method: PUT, path: "/tickets/{Ticket:number}"}
        input: Ticket
      label:
        endpoint: {method: POST, path: "/tickets/{Ticket:number}/labels/:label"}
      free:
        endpoint: {method: POST, path: "/free/:key"}
        input: string
models:
  Search:
    text?: string
    number?: number
    flag?: boolean
    day?: date
    tags?: string[]
    numbers?: number[]
    state?: open | 5 | null
    number_or_text?: number | string
    anything?: any
    big?: bigint
    author?: Author
    authors?: Author[]
    labels?: {name: string}
    matrix?: number[][]
    list?: array
  Author: {name: string}
  Ticket: {number: number, title?: string}
  Counts: {__string: number}
"""

PARSED = parse_nango_yaml(CONFIG).config
assert PARSED is not None
INDEX = EndpointIndex(PARSED)
NO_BODY: Any = object()


def given_input(request: str, body: Any = NO_BODY, **query: Any) -> Any:
    method, path = request.split(" ")
    match = INDEX.find("desk", method, path)
    assert match is not None
    texts = {name: [text] if isinstance(text, str) else text for name, text in query.items()}
    if body is NO_BODY:
        return action_input(PARSED, match, texts, None, has_body=False)
    return action_input(PARSED, match, texts, body, has_body=True)


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        ("text", ["5"], "5"),
        ("text", ["null"], "null"),
        ("text", ["a", "b"], ["a", "b"]),
        ("number", ["5"], 5),
        ("number", ["-1.5e3"], -1500.0),
        ("number", ["five"], "five"),
        ("number", [""], ""),
        ("number", ["NaN"], "NaN"),
        ("number", ['"5"'], '"5"'),
        ("flag", ["true"], True),
        ("flag", ["True"], "True"),
        ("day", ["2026-01-01"], "2026-01-01"),
        ("tags", ["5"], ["5"]),
        ("tags", ["a", "b"], ["a", "b"]),
        ("numbers", ["1", "2"], [1, 2]),
        ("numbers", ["1"], [1]),
        ("state", ["open"], "open"),
        ("state", ["5"], 5),
        ("state", ["null"], None),
        ("number_or_text", ["5"], "5"),
        ("anything", ["5"], "5"),
        ("big", ["123456789012345678901234567890"], 123456789012345678901234567890),
        ("author", ['{"name": "a"}'], {"name": "a"}),
        ("author", ["a"], "a"),
        ("authors", ['[{"name": "a"}]'], [{"name": "a"}]),
        ("authors", ['{"name": "a"}', '{"name": "b"}'], [{"name": "a"}, {"name": "b"}]),
        ("labels", ['{"name": "a"}'], {"name": "a"}),
        ("matrix", ["[[1], [2]]"], [[1], [2]]),
        ("list", ["[1, 2]"], [1, 2]),
        ("unknown", ["5"], "5"),
        ("unknown", ["a", "b"], ["a", "b"]),
    ],
)
def test_text_of_a_query_means_what_the_model_says(name: str, texts: list[str], value: Any) -> None:
    read = given_input("GET /typed", **{name: texts})
    assert read == {name: value}
    assert type(read[name]) is type(value)


def test_query_of_an_action_without_a_model_stays_text() -> None:
    assert given_input("GET /loose", page="5") == {"page": "5"}


def test_nothing_given_is_an_empty_object_where_one_is_wanted() -> None:
    assert given_input("GET /typed") == {}
    assert given_input("GET /loose") is None
    assert given_input("GET /scalar") is None


def test_input_that_is_no_object_is_called_input() -> None:
    assert given_input("GET /scalar", input="5") == 5
    assert given_input("GET /either", input='{"text": "a"}') == {"text": "a"}
    assert given_input("GET /scalar", other="5") == {"other": "5"}


def test_dynamic_keys_have_their_type() -> None:
    assert given_input("GET /open", a="1", b="2") == {"a": 1, "b": 2}


@pytest.mark.parametrize("body", [{"a": 1}, [1], "text", 5, None, False])
def test_body_is_the_input_as_it_is(body: Any) -> None:
    assert given_input("GET /loose", body, ignored="1") is body


def test_values_of_the_path_go_into_the_input() -> None:
    assert given_input("PUT /tickets/7", {"title": "t"}) == {"title": "t", "number": 7}
    assert given_input("PUT /tickets/7", None) == {"number": 7}
    assert given_input("PUT /tickets/7") == {"number": 7}
    assert given_input("PUT /tickets/7", title="t") == {"title": "t", "number": 7}
    assert given_input("POST /tickets/7/labels/5") == {"number": 7, "label": "5"}


def test_value_that_the_body_repeats_is_no_conflict() -> None:
    assert given_input("PUT /tickets/7", {"number": 7}) == {"number": 7}
    assert given_input("POST /free/7", {"key": "7"}) == {"key": "7"}


@pytest.mark.parametrize(
    ("body", "query", "code"),
    [
        ({"number": 8, "label": "l"}, {}, "invalid_body"),
        (NO_BODY, {"number": "8"}, "invalid_query_params"),
    ],
)
def test_value_that_contradicts_the_path_is_refused(body: Any, query: Any, code: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        given_input("POST /tickets/7/labels/l", body, **query)
    assert caught.value.code == code
    assert [tuple(error.path) for error in caught.value.errors] == [("number",)]


@pytest.mark.parametrize("body", [[1], "text", 5, False])
def test_body_without_a_place_for_the_values_of_the_path_is_refused(body: Any) -> None:
    with pytest.raises(InvalidInputError, match="`key`"):
        given_input("POST /free/a", body)


@pytest.mark.parametrize("text", ["", "{", "NaN", "-Infinity", b"\xff", "[" * 200_000, "9" * 5000])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


@given(st.text(max_size=20))
def test_text_is_never_changed_where_text_is_wanted(text: str) -> None:
    assert given_input("GET /typed", text=text, unknown=text, tags=text) == {
        "text": text,
        "unknown": text,
        "tags": [text],
    }


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_plain_values_survive_the_way_through_a_query(value: Any) -> None:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    name = "flag" if isinstance(value, bool) else "number"
    assert given_input("GET /typed", **{name: text}) == {name: value}
