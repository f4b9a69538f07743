"""Records as they leave the API, put together from stored bytes without decoding them.

Reading ten thousand records costs no JSON parsing: the stored payload is cut before its closing
brace and the metadata goes in. Its id is a string already (`perdure.records.prepare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from perdure.records.cursor import encode_cursor

__all__ = ["StoredRecord", "last_action", "records_body", "splice"]


class StoredRecord(NamedTuple):
    """A record as it stands in the database; all times are aware.

    Attributes:
        id: Id as a string.
        payload: Stored JSON object, see `perdure.records.prepare`.
        first_seen_at: When it appeared, or came back after a deletion.
        last_modified_at: When it last changed; equal to `first_seen_at` until it does.
        deleted_at: When it disappeared, None while it is there.
        pruned_at: When its payload was given up, None while it is there.
        change_seq: Place of its latest change in the change stream.
    """

    id: str
    payload: bytes
    first_seen_at: datetime
    last_modified_at: datetime
    deleted_at: datetime | None
    pruned_at: datetime | None
    change_seq: int


def last_action(record: StoredRecord) -> str:
    """Return what happened to a record last: `ADDED`, `UPDATED` or `DELETED`."""
    return _last_action(record.first_seen_at, record.last_modified_at, record.deleted_at)


def splice(record: StoredRecord) -> bytes:
    """Return the JSON object of a record with its `_nango_metadata`.

    The payload of a pruned record is gone: only its id and the metadata are left.
    """
    payload = record.payload
    if record.pruned_at is not None:
        payload = orjson.dumps({"id": record.id})
    metadata = _metadata(
        record.first_seen_at, record.last_modified_at, record.deleted_at, record.pruned_at
    )
    return b'%b%b"%b"}}' % (payload[:-1], metadata, encode_cursor(record.change_seq).encode())


def records_body(records: Sequence[bytes], next_cursor: str | None) -> bytes:
    """Return the JSON body that answers a request for records."""
    cursor = b"null" if next_cursor is None else orjson.dumps(next_cursor)
    # Joined at once: each further step would copy some megabytes.
    head = b'{"next_cursor":' + cursor + b',"records":['
    return b"".join((head, b",".join(records), b"]}"))


# Records that were saved together have all of this in common.
@lru_cache(maxsize=4096)
def _metadata(
    first_seen_at: datetime,
    last_modified_at: datetime,
    deleted_at: datetime | None,
    pruned_at: datetime | None,
) -> bytes:
    """Return the metadata up to the cursor."""
    action = _last_action(first_seen_at, last_modified_at, deleted_at)
    return (
        f',"_nango_metadata":{{"first_seen_at":{_time(first_seen_at)}'
        f',"last_modified_at":{_time(last_modified_at)}'
        f',"last_action":"{action}"'
        f',"deleted_at":{_time(deleted_at)}'
        f',"pruned_at":{_time(pruned_at)}'
        ',"cursor":'
    ).encode("ascii")


def _last_action(
    first_seen_at: datetime, last_modified_at: datetime, deleted_at: datetime | None
) -> str:
    if deleted_at is not None:
        return "DELETED"
    return "ADDED" if first_seen_at == last_modified_at else "UPDATED"


def _time(moment: datetime | None) -> str:
    # In UTC, since equal moments share what is written of them.
    return (
        "null"
        if moment is None
        else f'"{moment.astimezone(UTC).isoformat(timespec="microseconds")}"'
    )
