"""The cursor: it comes back as it was given, and nothing else is taken for one."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import InvalidInputError
from perdure.records.cursor import cursor_bytes, decode_cursor, encode_cursor

places = st.integers(0, 2**63 - 1)


@given(places)
def test_a_cursor_leads_back_to_its_place(place: int) -> None:
    assert decode_cursor(encode_cursor(place)) == place


@given(places)
def test_a_cursor_needs_no_escaping_in_a_url(place: int) -> None:
    assert set(encode_cursor(place)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


@given(st.lists(places) | st.lists(st.integers(10**8, 10**9 - 1)))
def test_cursors_of_a_page_are_those_of_its_records(page: list[int]) -> None:
    assert [cursor.decode() for cursor in cursor_bytes(page)] == [*map(encode_cursor, page)]


@pytest.mark.parametrize("digits", range(1, 20))
def test_a_cursor_of_a_page_is_what_base64_makes_of_it(digits: int) -> None:
    number = int("9" * digits) if digits < 19 else 2**63 - 1

    encoded = base64.urlsafe_b64encode(b"v1:%d" % number).rstrip(b"=")

    assert list(cursor_bytes((number, number))) == [encoded, encoded]


@given(st.text())
def test_any_other_text_is_refused_by_its_code(text: str) -> None:
    with suppress(InvalidInputError):
        assert 0 <= decode_cursor(text) < 2**63


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "é",
        "djE6",
        base64.urlsafe_b64encode(b"v2:5").decode(),
        base64.urlsafe_b64encode(b"v1:-5").decode(),
        base64.urlsafe_b64encode(b"v1:05").decode(),
        base64.urlsafe_b64encode(b"v1:9223372036854775808").decode(),
        base64.urlsafe_b64encode(b"2026-01-01T00:00:00Z||uuid").decode(),
    ],
)
def test_a_cursor_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_cursor(text)

    assert caught.value.code == "invalid_cursor"
