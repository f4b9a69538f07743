"""Records as they leave the API, put together from stored bytes without decoding them.

Reading ten thousand records costs no JSON parsing: the stored payload is cut before its closing
brace and the metadata goes in. Its id is a string already (`perdure.records.prepare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from perdure.records.cursor import encode_cursor

__all__ = ["StoredRecord", "last_action", "records_body", "splice"]


@dataclass(frozen=True, slots=True)
class StoredRecord:
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
    if record.deleted_at is not None:
        return "DELETED"
    return "ADDED" if record.first_seen_at == record.last_modified_at else "UPDATED"


def splice(record: StoredRecord) -> bytes:
    """Return the JSON object of a record with its `_nango_metadata`.

    The payload of a pruned record is gone: only its id and the metadata are left.
    """
    payload = record.payload
    if record.pruned_at is not None:
        payload = orjson.dumps({"id": record.id})
    metadata = (
        f',"_nango_metadata":{{"first_seen_at":{_time(record.first_seen_at)}'
        f',"last_modified_at":{_time(record.last_modified_at)}'
        f',"last_action":"{last_action(record)}"'
        f',"deleted_at":{_time(record.deleted_at)}'
        f',"pruned_at":{_time(record.pruned_at)}'
        f',"cursor":"{encode_cursor(record.change_seq)}"}}}}'
    )
    return payload[:-1] + metadata.encode("ascii")


def records_body(records: Sequence[bytes], next_cursor: str | None) -> bytes:
    """Return the JSON body that answers a request for records."""
    cursor = b"null" if next_cursor is None else orjson.dumps(next_cursor)
    return b'{"next_cursor":' + cursor + b',"records":[' + b",".join(records) + b"]}"


def _time(moment: datetime | None) -> str:
    return "null" if moment is None else f'"{moment.isoformat(timespec="microseconds")}"'
