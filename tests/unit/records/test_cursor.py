"""The cursor: it comes back as it was given, and nothing else is taken for one."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import InvalidInputError
from perdure.records.cursor import decode_cursor, encode_cursor

places = st.integers(0, 2**63 - 1)


@given(places)
def test_a_cursor_leads_back_to_its_place(place: int) -> None:
    assert decode_cursor(encode_cursor(place)) == place


@given(places)
def test_a_cursor_needs_no_escaping_in_a_url(place: int) -> None:
    assert set(encode_cursor(place)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


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
