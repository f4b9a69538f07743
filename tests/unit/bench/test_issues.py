"""The benchmark's API serves what it says it does."""

from __future__ import annotations

import json
from typing import Any

from bench.issues import page


def read(limit: int, total: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    following: str | None = "1"
    while following is not None:
        body = json.loads(b"".join(page(int(following), limit=limit, total=total)))
        assert len(body["items"]) <= limit
        found += body["items"]
        following = body["next"]
    return found


def test_pages_of_any_size_hold_the_same_issues() -> None:
    assert read(100, 1200) == read(500, 1200)


def test_each_issue_has_an_id_of_its_own() -> None:
    found = read(100, 1000)
    assert len(found) == len({issue["id"] for issue in found}) == 1000


def test_an_issue_is_as_large_as_is_said() -> None:
    size = sum(map(len, page(1, limit=100, total=100))) / 100
    assert 1350 < size < 1500
