"""What the functions of a script make of a page."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from perdure.scripts.mapping import MappingError, mapped_records

ITEMS = [{"id": "1", "on": True}, {"id": "2", "on": False}, {"id": "3", "on": True}]


def test_where_that_runs_out_of_something_drops_nothing_in_silence() -> None:
    def where(record: Any) -> bool:
        return next(value for value in (record["on"],) if value)

    with pytest.raises(MappingError) as caught:
        list(mapped_records(ITEMS, None, where))
    assert caught.value.index == 1
    assert isinstance(caught.value.__cause__, StopIteration)


def test_where_keeps_what_it_says() -> None:
    kept = mapped_records(ITEMS, None, lambda record: record["on"])

    assert [record["id"] for record in kept] == ["1", "3"]


def test_function_that_wants_to_leave_the_process_fails_its_run() -> None:
    with pytest.raises(MappingError) as caught:
        list(mapped_records(ITEMS, lambda _: sys.exit(1), None))
    assert caught.value.index == 0
