"""Pages of issues, shaped like GitHub's: 1.4 KB each, rendered before anybody asks.

A block of 100 issues is rendered once, in pieces between which the block's number belongs; a page
is a few blocks, so one of any size costs the API next to nothing.
"""

from __future__ import annotations

import json

__all__ = ["BLOCK", "page"]

BLOCK = 100
"""Issues of a block; pages are whole blocks, and so is what there is in all."""

_MARK = "######"
_TEXT = (
    "When the export of a workspace is started twice within a minute, the second one ends with a "
    "time-out and leaves a file of zero bytes behind. Steps to reproduce: open the settings, "
    "choose a workspace of more than ten thousand items, press the button, wait for the first "
    "progress to be shown, press it again. Expected: the second press is refused, or joins the "
    "first export. Seen since the release of January, by three customers, in both regions and in "
    "all browsers."
)


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
        parts.append((b"%06d" % block).join(_PIECES))
    parts.append(b'],"next":"%d"}' % (number + 1) if end < total else b'],"next":null}')
    return parts


def _issue(index: int) -> dict[str, object]:
    number = f"{_MARK}{index:02}"
    repository = "https://api.example.com/repos/octo/exports"
    return {
        # GitHub's ids are numbers; the quotes around the mark go when the block is rendered.
        "id": f"1{number}",
        "node_id": "I_kwDOABCD1234567890",
        "number": index + 1,
        "title": f"Export {number} ends with a time-out",
        "url": f"{repository}/issues/{index + 1}",
        "repository_url": repository,
        "comments_url": f"{repository}/issues/{index + 1}/comments",
        "html_url": f"https://example.com/octo/exports/issues/{index + 1}",
        "user": {
            "login": f"octo-{index:02}",
            "id": 583231 + index,
            "node_id": "MDQ6VXNlcjU4MzIzMQ==",
            "avatar_url": "https://avatars.example.com/u/583231?v=4",
            "html_url": f"https://example.com/octo-{index:02}",
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
        "created_at": "2026-01-10T12:00:00Z",
        "updated_at": "2026-02-11T13:30:00Z",
        "closed_at": None if index % 3 else "2026-02-11T13:30:00Z",
        "author_association": "COLLABORATOR",
        "reactions": {"total_count": 3, "heart": 2, "eyes": 1},
        "body": _TEXT,
    }


def _pieces() -> list[bytes]:
    rendered = (json.dumps(_issue(index), separators=(",", ":")) for index in range(BLOCK))
    block = ",".join(
        text.replace(f'"1{_MARK}{index:02}"', f"1{_MARK}{index:02}", 1)
        for index, text in enumerate(rendered)
    )
    return block.encode().split(_MARK.encode())


_PIECES = _pieces()
