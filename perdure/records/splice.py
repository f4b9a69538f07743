"""Records as they leave the API, put together from stored bytes without decoding them.

Reading ten thousand records costs no JSON parsing: the stored payload is cut before its closing
brace and the metadata goes in. Its id is a string already (`perdure.records.prepare`). A page stays
in pieces until they are joined, all at once: it has megabytes, and each copy costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeAlias

import orjson

from perdure.records.cursor import cursor_bytes

__all__ = ["Pieces", "last_action", "metadata", "records_body", "splice"]

Pieces: TypeAlias = tuple[bytes, bytes, bytes, bytes]
"""The JSON object of a record with its `_nango_metadata`; joined, they are its bytes."""

_END = b'"}}'
_NEXT = b","


def splice(payload: bytes, described: bytes, change_seq: int) -> Pieces:
    """Return the pieces of a record.

    Args:
        payload: Stored JSON object, see `perdure.records.prepare`.
        described: Its `metadata`.
        change_seq: Place of its latest change in the change stream.
    """
    return payload[:-1], described, cursor_bytes(change_seq), _END


def records_body(records: Iterable[Pieces], next_cursor: str | None) -> bytes:
    """Return the JSON body that answers a request for records."""
    cursor = b"null" if next_cursor is None else orjson.dumps(next_cursor)
    parts = [b'{"next_cursor":', cursor, b',"records":[']
    for pieces in records:
        parts += pieces
        parts.append(_NEXT)
    if parts[-1] is _NEXT:
        parts.pop()
    parts.append(b"]}")
    return b"".join(parts)


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
        f',"_nango_metadata":{{"first_seen_at":{_time(first_seen_at)}'
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
