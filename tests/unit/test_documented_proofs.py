"""The page on guarantees names tests that are there, each row of its tables by one or by none."""

from __future__ import annotations

import re
from pathlib import Path

from tests.chaos.test_kill_pages import IN_FLIGHT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts" / "guarantees.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE)))


def test_named_tests_exist() -> None:
    assert len(NAMED) > 30
    assert [name for name in NAMED if not (ROOT / "tests" / name).is_file()] == []


def test_what_is_said_to_be_slow_is_marked_so() -> None:
    wholly_slow = re.findall(r"`((?:\w+/)*\w+\.py)`, \*slow\*", PAGE)

    assert wholly_slow
    for name in wholly_slow:
        text = (ROOT / "tests" / name).read_text()
        marked = text.count("@pytest.mark.slow")
        assert marked == len(re.findall(r"^async def test_", text, re.MULTILINE)), name


def test_page_tells_how_many_pages_a_kill_repeats() -> None:
    words = ("no", "one", "two", "three", "four", "five")

    assert f"At most {words[IN_FLIGHT]} pages are fetched again for each kill" in PAGE
