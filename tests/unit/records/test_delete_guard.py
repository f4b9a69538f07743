"""When a deletion waits for somebody's word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.records.delete_guard import SMALL_MODEL, must_be_confirmed


@pytest.mark.parametrize(
    ("live", "absent", "saw_any", "share", "held"),
    [
        (200, 101, True, 0.5, True),
        (200, 100, True, 0.5, False),
        (500, 101, True, 0.2, True),
        (500, 100, True, 0.2, False),
        (100, 99, True, 0.5, False),
        (101, 51, True, 0.5, True),
        (1000, 1, True, 0.0, True),
        (1, 1, False, 0.5, True),
        (50, 49, False, 0.5, True),
        (0, 0, False, 0.5, False),
        (200, 200, False, None, False),
    ],
)
def test_many_of_many_records_or_all_that_an_empty_run_leaves_behind(
    live: int, absent: int, saw_any: bool, share: float | None, held: bool
) -> None:
    assert must_be_confirmed(live=live, absent=absent, saw_any=saw_any, share=share) is held


@given(st.integers(0, SMALL_MODEL), st.floats(0, 1))
def test_a_small_model_may_lose_any_share_to_a_run_that_saw_something(
    live: int, share: float
) -> None:
    assert not must_be_confirmed(live=live, absent=live, saw_any=True, share=share)


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.booleans())
def test_without_a_share_nothing_is_held_back(live: int, absent: int, saw_any: bool) -> None:
    assert not must_be_confirmed(live=live, absent=absent, saw_any=saw_any, share=None)
