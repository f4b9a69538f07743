"""Pages of issues, shaped like GitHub's: 1.4 KB each, rendered before anybody asks.

Blocks of 100 issues are rendered once, in pieces between which the block's number belongs; a page
is a few blocks, so one of any size costs the API next to nothing. There are so many different ones,
of made-up words, that nobody who compresses a few megabytes finds one of them twice.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import accumulate

__all__ = ["BLOCK", "page"]

BLOCK = 100
"""Issues of a block; pages are whole blocks, and so is what there is in all."""

_MARK = "######"
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_KINDS = 40
_BODY = 440


def page(number: int, *, limit: int, total: int) -> list[bytes]:
    """Return the body of a page, in parts that nobody needs to copy together.

    Args:
        number: Which page, counted from 1.
        limit: Issues of a page, a multiple of `BLOCK`.
        total: How many issues there are, a multiple of `BLOCK`.
    """
    start = (number - 1) * limit
    end = min(start + limit, total)
    parts = [b'{"items":[']
    for block in range(start // BLOCK, end // BLOCK):
        if len(parts) > 1:
            parts.append(b",")
        parts.append((b"%06d" % block).join(_BLOCKS[block % _KINDS]))
    parts.append(b'],"next":"%d"}' % (number + 1) if end < total else b'],"next":null}')
    return parts


class _Writer:
    """Writes texts whose words are as unequally frequent as those of a language."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
        self._words = [
            "".join(self._random.choices(syllables, k=self._random.randint(1, 4)))
            for _ in range(4_000)
        ]
        self._weights = list(accumulate(1 / rank for rank in range(1, len(self._words) + 1)))

    def text(self, size: int) -> str:
        """Return a text of so many characters."""
        words = self._random.choices(self._words, cum_weights=self._weights, k=size // 2)
        return " ".join(words)[:size].rstrip().ljust(size, ".")

    def number(self, digits: int) -> int:
        return self._random.randrange(10 ** (digits - 1), 10**digits)

    def moment(self) -> str:
        seconds = self._random.randrange(360 * 24 * 3600)
        return (_FIRST_DAY + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    def hexadecimal(self, digits: int) -> str:
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"


def _issue(index: int, write: _Writer) -> dict[str, object]:
    number = f"{_MARK}{index:02}"
    repository = "https://api.example.com/repos/octo/exports"
    login, user = write.text(7).replace(" ", "-"), write.number(6)
    return {
        # GitHub's ids are numbers; the quotes around the mark go when the block is rendered.
        "id": f"1{number}",
        "node_id": f"I_kwDO{write.hexadecimal(14)}",
        "number": index + 1,
        "title": f"{number} {write.text(24)}",
        "url": f"{repository}/issues/{index + 1}",
        "repository_url": repository,
        "comments_url": f"{repository}/issues/{index + 1}/comments",
        "html_url": f"https://example.com/octo/exports/issues/{index + 1}",
        "user": {
            "login": login,
            "id": user,
            "node_id": f"MDQ6{write.hexadecimal(16)}",
            "avatar_url": f"https://avatars.example.com/u/{user}?v=4",
            "html_url": f"https://example.com/{login}",
            "type": "User",
            "site_admin": False,
        },
        "labels": [
            {"id": 208045946, "name": "bug", "color": "f29513", "default": True},
            {"id": 208045947, "name": "export", "color": "a2eeef", "default": False},
        ],
        "state": "open" if index % 3 else "closed",
        "locked": False,
        "assignee": None,
        "milestone": None,
        "comments": index % 7,
        "created_at": write.moment(),
        "updated_at": write.moment(),
        "closed_at": None if index % 3 else write.moment(),
        "author_association": "COLLABORATOR",
        "reactions": {"total_count": 3, "heart": 2, "eyes": 1},
        "body": write.text(_BODY),
    }


def _pieces(write: _Writer) -> list[bytes]:
    rendered = (json.dumps(_issue(index, write), separators=(",", ":")) for index in range(BLOCK))
    block = ",".join(
        text.replace(f'"1{_MARK}{index:02}"', f"1{_MARK}{index:02}", 1)
        for index, text in enumerate(rendered)
    )
    return block.encode().split(_MARK.encode())


def _blocks() -> list[list[bytes]]:
    write = _Writer()
    return [_pieces(write) for _ in range(_KINDS)]


_BLOCKS = _blocks()
