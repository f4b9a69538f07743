"""docs/nango-yaml.md tells of every key that a file may hold, and its example is one."""

from __future__ import annotations

import re

from config.nango_yaml import parse_nango_yaml
from config.schema import ACTION_KEYS, EVENTS, SYNC_KEYS
from config.type_grammar import NATIVE_WORDS
from tests.docs.blocks import blocks_of
from tests.docs.walk import ROOT

PAGE = ROOT / "docs" / "nango-yaml.md"


def keys_below(heading: str) -> set[str]:
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}


def test_every_key_of_a_sync_and_of_an_action_is_told_of() -> None:
    assert keys_below("A sync") == SYNC_KEYS.keys()
    assert keys_below("An action") == ACTION_KEYS.keys()


def test_every_event_is_told_of() -> None:
    text = PAGE.read_text()
    assert [event for event in EVENTS if f"`{event}`" not in text] == []


def test_types_of_the_page_are_types() -> None:
    told = keys_below("Models")
    assert {"string", "number", "boolean", "date"} <= told & NATIVE_WORDS.keys()


def test_example_is_read_without_a_complaint() -> None:
    (example,) = [b for b in blocks_of(PAGE, PAGE.name) if b.title == "nango.yaml"]
    parsed = parse_nango_yaml(example.content)
    assert parsed.errors == ()
