"""The bytes of a webhook. The expected texts are those of `JSON.stringify(JSON.parse(text))`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.webhooks.body import encode_body

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": {"d": [], "c": None}}, '{"a":{"c":null,"d":[]},"b":1}'),
        ({"b": 1, "10": 2, "2": 3, "02": 4}, '{"2":3,"10":2,"02":4,"b":1}'),
        ({"4294967295": 1, "4294967294": 2, "-1": 3}, '{"4294967294":2,"-1":3,"4294967295":1}'),
        ([True, False, None], "[true,false,null]"),
        ("Straße 🚲 </script>", '"Straße 🚲 </script>"'),
        ('\x00\x1f\x7f\b\n"\\', '"\\u0000\\u001f\x7f\\b\\n\\"\\\\"'),
        ("half \ud800 and \ud83d\udeb2", '"half \\ud800 and 🚲"'),
        (2**53, "9007199254740992"),
        (float("nan"), "null"),
        (float("-inf"), "null"),
    ],
)
def test_body_is_written_as_javascript_writes_it(value: Any, text: str) -> None:
    assert encode_body(value).decode() == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e16, "10000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.000001, "0.000001"),
        (0.0000012, "0.0000012"),
        (1e-7, "1e-7"),
        (-1.25e-9, "-1.25e-9"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)
def test_numbers_have_the_form_of_ecmascript(number: float, text: str) -> None:
    assert encode_body(number).decode() == text


@given(VALUES)
def test_body_says_what_the_value_says(value: Any) -> None:
    assert json.loads(encode_body(value), parse_int=float) == value


@given(VALUES)
def test_body_is_the_same_however_the_value_came(value: Any) -> None:
    body = encode_body(value)
    assert encode_body(json.loads(body)) == body


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        encode_body({"a": {1, 2}})
