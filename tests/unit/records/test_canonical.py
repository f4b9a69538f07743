"""The stored and the hashed form of records."""

from __future__ import annotations

import json
import math
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.records.canonical import HASH_BYTES, canonical_hash, to_json

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert json.loads(to_json(value)) == value
    assert json.loads(to_json(value, sort_keys=True)) == value


@given(st.dictionaries(any_text, json_values, min_size=2, max_size=6), st.randoms())
def test_the_order_of_keys_plays_no_part_in_the_hash(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    nested = {"inner": value}
    shuffled = {"inner": {key: value[key] for key in keys}}

    assert canonical_hash(nested) == canonical_hash(shuffled)


@given(json_values, json_values)
def test_different_values_have_different_hashes(one: Any, other: Any) -> None:
    same_text = to_json(one, sort_keys=True) == to_json(other, sort_keys=True)

    assert (canonical_hash(one) == canonical_hash(other)) is same_text


def test_the_stored_form_keeps_the_order_of_keys() -> None:
    assert to_json({"b": 1, "a": {"d": 2, "c": 3}}) == b'{"b":1,"a":{"d":2,"c":3}}'


def test_the_hash_has_its_length() -> None:
    assert len(canonical_hash({})) == HASH_BYTES == 16


def test_the_order_of_a_list_is_part_of_the_hash() -> None:
    assert canonical_hash([1, 2]) != canonical_hash([2, 1])


def test_the_hash_of_a_value_never_changes() -> None:
    # Stored hashes are compared with new ones: another algorithm would make every record change.
    assert canonical_hash({"id": "1", "b": [1.5, None], "a": "é"}).hex() == (
        "44d4553b08de3c7217b9e0abfd4acd0f"
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("beside", [1, 2**80])
def test_what_is_no_number_becomes_null_on_both_ways(number: float, beside: int) -> None:
    assert json.loads(to_json([number, beside])) == [None, beside]


def test_integers_beyond_64_bits_keep_all_digits() -> None:
    assert to_json({"n": 2**64 + 1}) == b'{"n":18446744073709551617}'


def test_unpaired_surrogates_are_escaped() -> None:
    assert to_json({"s": "a\ud800b"}) == b'{"s":"a\\ud800b"}'


def test_nul_characters_are_kept() -> None:
    assert to_json("a\0b") == b'"a\\u0000b"'


def test_keys_that_are_no_strings_become_strings() -> None:
    assert to_json({2: "a", None: "b", True: "c"}) == b'{"2":"a","null":"b","true":"c"}'


@given(st.dictionaries(st.integers(-(2**63), 2**63), any_text.filter(str.isprintable)))
def test_keys_that_are_no_strings_change_no_hash_once_they_are(value: dict[int, str]) -> None:
    assert canonical_hash(json.loads(to_json(value))) == canonical_hash(value)


def test_dates_and_uuids_become_strings_on_both_ways() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    uuid = UUID(int=7)

    for beside in (1, 2**80):
        assert json.loads(to_json([moment, uuid, beside])) == [
            "2026-01-02T03:04:05Z",
            "00000000-0000-0000-0000-000000000007",
            beside,
        ]


def test_what_json_has_no_form_for_is_refused() -> None:
    for value in (Decimal(1), object(), {"x": {1, 2}}, b"bytes", 10**5000):
        with pytest.raises(TypeError):
            to_json(value)


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(TypeError, match="nested too deeply"):
        to_json(endless)


def shuffled(value: Any, random: Any) -> Any:
    """The same value with the keys of every object in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    if isinstance(value, list):
        return [shuffled(item, random) for item in value]
    return value


@given(json_values, st.randoms())
def test_the_order_of_keys_plays_no_part_at_any_depth(value: Any, random: Any) -> None:
    assert canonical_hash(shuffled(value, random)) == canonical_hash(value)


@given(json_values, st.integers(2**64, 2**200) | st.integers(-(2**200), -(2**64)))
def test_what_was_stored_has_the_hash_that_it_was_stored_with(value: Any, big: int) -> None:
    # A record that is read, merged with nothing and written again has not changed.
    for record in (value, {"value": value}, [value, big]):
        assert canonical_hash(json.loads(to_json(record))) == canonical_hash(record)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_told_from_its_neighbours(number: float) -> None:
    above = math.nextafter(number, math.inf)

    if above != number and not math.isinf(above):
        assert canonical_hash({"n": number}) != canonical_hash({"n": above})
    assert canonical_hash({"n": number}) == canonical_hash({"n": float(repr(number))})


@given(st.text(max_size=8))
def test_texts_are_compared_as_they_are_not_as_they_look(text: str) -> None:
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, text)
        assert (canonical_hash(other) == canonical_hash(text)) is (other == text)
