"""Partial records merged into whole ones."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perdure.records.merge import deep_merge

names = st.sampled_from("abcd") | st.text(max_size=4)
leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=4)


def expected(base: dict[str, Any], partial: dict[str, Any]) -> dict[str, Any]:
    """The rule, as plainly as it can be said."""
    merged = dict(base)
    for key, value in partial.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = expected(merged[key], value) if both else value
    return merged


@given(objects, objects)
def test_objects_are_merged_key_by_key_and_everything_else_is_replaced(
    base: dict[str, Any], partial: dict[str, Any]
) -> None:
    assert deep_merge(base, partial) == expected(base, partial)


@given(objects, objects)
def test_what_goes_in_is_left_as_it_is(base: dict[str, Any], partial: dict[str, Any]) -> None:
    before = copy.deepcopy((base, partial))

    merged = deep_merge(base, partial)
    merged["added"] = True

    assert (base, partial) == before


@given(objects, objects)
def test_merging_the_same_twice_changes_nothing_more(
    base: dict[str, Any], partial: dict[str, Any]
) -> None:
    once = deep_merge(base, partial)

    assert deep_merge(once, partial) == once


@given(objects)
def test_nothing_changes_nothing(record: dict[str, Any]) -> None:
    assert deep_merge(record, {}) == record
    assert deep_merge({}, record) == record
    assert deep_merge(record, record) == record


def test_lists_and_null_replace() -> None:
    base = {"id": "1", "tags": ["a", "b"], "owner": {"name": "n", "mail": "m"}, "gone": 1}

    merged = deep_merge(base, {"tags": ["c"], "owner": {"mail": None}, "gone": None})

    assert merged == {"id": "1", "tags": ["c"], "owner": {"name": "n", "mail": None}, "gone": None}


def test_depth_does_not_matter() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"a": deep, "b": 1}

    assert deep_merge(deep, {"a": {"a": {"b": 2}}})["a"]["a"]["b"] == 2
    deep_merge(deep, deep)
