"""Records as they leave the API, put together from stored bytes without decoding them.

Reading ten thousand records costs no JSON parsing: the metadata goes in where the stored payload
has its closing brace. Its id is a string already (`perdure.records.prepare`). A page is joined all
at once: it has megabytes, and each copy costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, islice

import orjson

__all__ = ["last_action", "metadata", "records_body", "splice"]

_COMMA = ord(",")
_END = b'"}}'


def splice(payload: bytes, described: bytes, cursor: bytes) -> bytes:
    """Return the JSON object of a record with its `_nango_metadata`.

    Args:
        payload: Stored JSON object, see `perdure.records.prepare`.
        described: Its `metadata`.
        cursor: Cursor of its latest change, see `perdure.records.cursor.cursor_bytes`.
    """
    return b"".join((payload[:-1], b",", described, cursor, _END))


def records_body(
    payloads: Sequence[bytes],
    described: Sequence[bytes],
    cursors: Sequence[bytes],
    next_cursor: str | None,
) -> memoryview:
    """Return the JSON body that answers a request for records; its arguments are as for `splice`.

    A page has thousands of pieces: they are made and strung together column by column, which is
    faster than record by record.
    """
    following = b"null" if next_cursor is None else orjson.dumps(next_cursor)
    pieces = [_END + b","] * (4 * len(payloads))
    pieces[0::4] = payloads
    pieces[1::4] = described
    pieces[2::4] = cursors
    if pieces:
        pieces[-1] = _END
    beginning = b"".join((b'{"next_cursor":', following, b',"records":['))
    body = bytearray().join((beginning, *pieces, b"]}"))
    # Without their closing braces payloads would be copied twice: the brace becomes the comma.
    for end in islice(accumulate(map(len, pieces), initial=len(beginning)), 1, None, 4):
        body[end - 1] = _COMMA
    return memoryview(body)


def metadata(
    first_seen_at: datetime,
    last_modified_at: datetime,
    deleted_at: datetime | None,
    pruned_at: datetime | None,
) -> bytes:
    """Return what comes between a record's payload and its cursor: records saved together share it.

    Args:
        first_seen_at: When it appeared, or came back after a deletion.
        last_modified_at: When it last changed; equal to `first_seen_at` until it does.
        deleted_at: When it disappeared, None while it is there.
        pruned_at: When its payload was given up, None while it is there.
    """
    action = last_action(first_seen_at, last_modified_at, deleted_at)
    return (
        f'"_nango_metadata":{{"first_seen_at":{_time(first_seen_at)}'
        f',"last_modified_at":{_time(last_modified_at)}'
        f',"last_action":"{action}"'
        f',"deleted_at":{_time(deleted_at)}'
        f',"pruned_at":{_time(pruned_at)}'
        ',"cursor":"'
    ).encode("ascii")


def last_action(
    first_seen_at: datetime, last_modified_at: datetime, deleted_at: datetime | None
) -> str:
    """Return what happened to a record last: `ADDED`, `UPDATED` or `DELETED`."""
    if deleted_at is not None:
        return "DELETED"
    return "ADDED" if first_seen_at == last_modified_at else "UPDATED"


def _time(moment: datetime | None) -> str:
    return (
        "null"
        if moment is None
        else f'"{moment.astimezone(UTC).isoformat(timespec="microseconds")}"'
    )
