"""Values that are at hand are handed over once, and no more of them are kept than may be."""

from __future__ import annotations

from perdure.temporal.at_hand import ValuesAtHand


def test_a_value_is_taken_once_and_by_the_very_bytes_it_was_left_for() -> None:
    at_hand = ValuesAtHand()
    left = [{"id": 1}]
    data = b'[{"id":1}]'
    at_hand.leave(data, left)
    others = data[:4] + data[4:]
    assert others is not data
    assert at_hand.take(others) is None
    assert at_hand.take(data) is left
    assert at_hand.take(data) is None


def test_what_was_left_twice_counts_once() -> None:
    at_hand = ValuesAtHand(most_bytes=8)
    for _ in range(3):
        at_hand.leave(b"[1,2]", [1, 2])
    at_hand.leave(b"[3]", [3])
    assert at_hand.take(b"[1,2]") == [1, 2]
    assert at_hand.take(b"[3]") == [3]


def test_the_oldest_values_make_room() -> None:
    at_hand = ValuesAtHand(most_bytes=8)
    for data, value in ((b"[1]", [1]), (b"[2]", [2]), (b"[3]", [3])):
        at_hand.leave(data, value)
    assert at_hand.take(b"[1]") is None
    assert at_hand.take(b"[2]") == [2]
    assert at_hand.take(b"[3]") == [3]


def test_what_is_larger_than_all_that_may_be_kept_is_not() -> None:
    at_hand = ValuesAtHand(most_bytes=8)
    at_hand.leave(b"[1]", [1])
    at_hand.leave(b"[1,2,3,4,5]", [1, 2, 3, 4, 5])
    assert at_hand.take(b"[1,2,3,4,5]") is None
    assert at_hand.take(b"[1]") == [1]


def test_an_empty_list_is_a_value() -> None:
    at_hand = ValuesAtHand()
    at_hand.leave(b"[]", [])
    assert at_hand.take(b"[]") == []
