"""The rehearsal fails where something was lost, and only there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from rehearsal.report import Rehearsal
from rehearsal.tally import Phase, Tally
from rehearsal.verdict import Check, _told

GOOD = Rehearsal(
    phases=[Phase("steady", answered=5, refused=Counter({"temporal_unavailable": 3}))],
    checks=[Check("records", 7, 7)],
    settled_seconds=1.0,
    migrated_seconds=1.0,
    seconds=60.0,
    surprises={},
    late_before=0,
    repeated_orders=0,
    pages=9,
)


def test_refusals_with_a_code_are_no_fault() -> None:
    assert GOOD.is_good


def test_how_the_release_before_ends_is_not_held_against_this_one() -> None:
    assert replace(GOOD, late_before=2).is_good


@pytest.mark.parametrize(
    "bad",
    [
        {"checks": [Check("records", 7, 6)]},
        {"checks": [Check("records", 7, 7, "1 double")]},
        {"surprises": {"api-1": ([1], [])}},
        {"surprises": {"worker-1": ([], ["where its threads stood"])}},
        {"phases": [Phase("steady", faults=["/records: 500"])]},
        {"phases": [Phase("steady", refused=Counter({"503 without a code": 1}))]},
    ],
)
def test_what_may_not_be_fails_it(bad: dict[str, object]) -> None:
    assert not replace(GOOD, **bad).is_good  # type: ignore[arg-type]  # each is of its field's type


def test_what_never_arrived_is_lost_and_what_came_twice_is_not() -> None:
    assert _told("webhooks", {"a", "b"}, Counter({"a": 2, "b": 1})).is_good
    assert not _told("webhooks", {"a", "b"}, Counter({"a": 2})).is_good


def test_gap_lasts_from_one_answer_to_the_next_whatever_begins_in_between() -> None:
    now = [0.0]
    tally = Tally(lambda: now[0])
    tally.begin("steady")
    for moment in (1.0, 4.5):
        now[0] = moment
        tally.answered()
    now[0] = 5.0
    killed = tally.begin("kill -9")
    now[0] = 6.5
    tally.answered()
    tally.end()

    assert tally.phases[0].longest_gap == 3.5
    assert killed.longest_gap == 2.0
    assert (tally.phases[0].seconds, killed.seconds) == (5.0, 1.5)
