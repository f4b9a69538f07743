"""The page on guarantees names tests that are there, and says which of them are slow."""

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


def test_what_runs_with_the_slow_tests_alone_is_said_to_be_slow() -> None:
    said = set(re.findall(r"`((?:\w+/)*\w+\.py)`, \*slow\*", PAGE))
    found = {name for name in NAMED if is_wholly_slow((ROOT / "tests" / name).read_text())}

    assert found
    assert said == found


def test_page_tells_how_many_pages_a_kill_repeats() -> None:
    words = ("no", "one", "two", "three", "four", "five")

    assert f"At most {words[IN_FLIGHT]} pages are fetched again for each kill" in PAGE


def is_wholly_slow(source: str) -> bool:
    parts = re.split(r"^(?=@|(?:async )?def )", source, flags=re.MULTILINE)
    marked = sum(part.startswith("@pytest.mark.slow") for part in parts)
    return 0 < marked == sum(bool(re.match(r"(async )?def test_", part)) for part in parts)
