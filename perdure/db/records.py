"""The records cache: what connections hold, and the stream of its changes.

How records are written, and what the stream promises, stands in `perdure.db.record_writes`.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

import asyncpg

from perdure.db.pool import DbConnection, borrowed
from perdure.db.record_batches import BatchResult, ModelCounts, RecordSet, Writer
from perdure.db.record_writes import RecordWriter
from perdure.ids import BASE_VARIANT, EnvironmentId
from perdure.records.cursor import cursor_bytes, decode_cursor, encode_cursor
from perdure.records.splice import metadata, records_body, splice

__all__ = [
    "BatchResult",
    "ModelCounts",
    "NamedRecordSet",
    "RecordFilter",
    "RecordPage",
    "RecordSet",
    "RecordStore",
    "Writer",
]

# Moments come as the eight bytes that Postgres has of each, in one column: a page holds few
# different ones, and to make a `datetime` of each took as long as all else. The first two are
# always there.
_COLUMNS = """
SELECT CASE WHEN pruned_at IS NULL THEN payload ELSE json_build_object('id', external_id) END,
       CASE WHEN deleted_at IS NULL AND pruned_at IS NULL
            THEN timestamptz_send(first_seen_at) || timestamptz_send(last_modified_at)
            ELSE timestamptz_send(first_seen_at) || timestamptz_send(last_modified_at)
                 || timestamptz_send(coalesce(deleted_at, '-infinity'))
                 || timestamptz_send(coalesce(pruned_at, '-infinity')) END,
       change_seq
"""

# A connection is known by its row id or by its name. To look for that beforehand would take a page
# of a few records twice as long.
_WHOSE = """coalesce($1::bigint, (
           SELECT c.id
             FROM connections c JOIN integrations i ON i.id = c.integration_id
            WHERE i.environment_id = $2 AND i.unique_key = $3 AND c.connection_id = $4))"""

# `change_seq > 0`, here and elsewhere, has Postgres go by the index of the stream.
_LIST = f"""{_COLUMNS}  FROM records
 WHERE connection_key = {_WHOSE} AND model = $5 AND variant = $6
   AND change_seq > 0 AND change_seq > $7
   AND ($8::timestamptz IS NULL OR last_modified_at >= $8)
   AND ( ($9 AND $10 AND $11)
      OR ($9 AND deleted_at IS NULL AND last_modified_at = first_seen_at)
      OR ($10 AND deleted_at IS NULL AND last_modified_at > first_seen_at)
      OR ($11 AND deleted_at IS NOT NULL) )
 ORDER BY change_seq
 LIMIT $12
"""

# The deleted ones alone have an index of their own: among many others they may be far apart.
_LIST_DELETED = f"""{_COLUMNS}  FROM records
 WHERE connection_key = {_WHOSE} AND model = $5 AND variant = $6
   AND deleted_at IS NOT NULL AND change_seq > $7
   AND ($8::timestamptz IS NULL OR last_modified_at >= $8)
 ORDER BY change_seq
 LIMIT $9
"""

# Moments follow the stream, but for clocks that are set right, by less than an hour: so a place
# before everything that changed since a moment is found by halving, whatever lies before it.
_PLACE_BEFORE = """
WITH RECURSIVE whose AS (
    SELECT coalesce($1::bigint, (
               SELECT c.id
                 FROM connections c JOIN integrations i ON i.id = c.integration_id
                WHERE i.environment_id = $2 AND i.unique_key = $3 AND c.connection_id = $4)) AS key
), search AS (
    SELECT $7::bigint AS low, coalesce((
               SELECT change_seq
                 FROM records
                WHERE connection_key = (SELECT key FROM whose) AND model = $5 AND variant = $6
                  AND change_seq > 0
                ORDER BY change_seq DESC
                LIMIT 1), 0) AS high
    UNION ALL
    SELECT CASE WHEN following.is_older THEN following.change_seq ELSE s.low END,
           CASE WHEN following.is_older THEN s.high ELSE s.low + (s.high - s.low) / 2 END
      FROM search s LEFT JOIN LATERAL (
          SELECT r.change_seq, r.last_modified_at < $8::timestamptz - interval '1 hour' AS is_older
            FROM records r
           WHERE r.connection_key = (SELECT key FROM whose) AND r.model = $5 AND r.variant = $6
             AND r.change_seq > 0 AND r.change_seq > s.low + (s.high - s.low) / 2
           ORDER BY r.change_seq
           LIMIT 1) following ON true
     WHERE s.low < s.high
)
SELECT max(low) FROM search
"""

_LIST_BY_IDS = f"""{_COLUMNS}  FROM records
 WHERE connection_key = {_WHOSE} AND model = $5 AND variant = $6
   AND external_id = ANY ($13::text[])
   AND change_seq > $7
   AND ($8::timestamptz IS NULL OR last_modified_at >= $8)
   AND ( ($9 AND deleted_at IS NULL AND last_modified_at = first_seen_at)
      OR ($10 AND deleted_at IS NULL AND last_modified_at > first_seen_at)
      OR ($11 AND deleted_at IS NOT NULL) )
 ORDER BY change_seq
 LIMIT $12
"""

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# What Postgres has of `-infinity`.
_NEVER = -(2**63)


class RecordFilter(StrEnum):
    """What happened to a record last."""

    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class NamedRecordSet:
    """A `RecordSet` of a connection as callers name it; it is empty where there is none.

    Attributes:
        environment_id: Where the connection belongs.
        integration: Key of its integration.
        connection_id: Its name.
        model: As of `RecordSet`.
        variant: The same.
    """

    environment_id: EnvironmentId
    integration: str
    connection_id: str
    model: str
    variant: str = BASE_VARIANT


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of the stream.

    Records stand in the order of their latest change.

    Attributes:
        payloads: The stored JSON object of each record; of a pruned one its id is left.
        described: The metadata of each, see `perdure.records.splice`.
        places: The place of each in the stream.
        next_cursor: Cursor of the last record when more follow, else None.
    """

    payloads: tuple[bytes, ...]
    described: tuple[bytes, ...]
    places: tuple[int, ...]
    next_cursor: str | None

    @property
    def records(self) -> tuple[bytes, ...]:
        """Each record as a JSON object with its `_nango_metadata`."""
        return tuple(map(splice, self.payloads, self.described, cursor_bytes(self.places)))

    @property
    def cursors(self) -> tuple[str, ...]:
        """The cursor of each record."""
        return tuple(cursor.decode("ascii") for cursor in cursor_bytes(self.places))

    def body(self) -> memoryview:
        """Return the JSON body `{"next_cursor":...,"records":[...]}`."""
        cursors = cursor_bytes(self.places)
        return records_body(self.payloads, self.described, cursors, self.next_cursor)

    def only(self, numbers: Sequence[int]) -> RecordPage:
        """Return the page with these of its records, counted from 0."""
        return RecordPage(
            payloads=tuple(self.payloads[number] for number in numbers),
            described=tuple(self.described[number] for number in numbers),
            places=tuple(self.places[number] for number in numbers),
            next_cursor=self.next_cursor,
        )


class RecordStore(RecordWriter):
    """Writes and reads records."""

    async def list(
        self,
        target: RecordSet | NamedRecordSet,
        *,
        after_cursor: str | None = None,
        limit: int = 100,
        filters: Collection[RecordFilter] = tuple(RecordFilter),
        modified_after: datetime | None = None,
        ids: Sequence[str] | None = None,
        conn: DbConnection | None = None,
    ) -> RecordPage:
        """Return records in the order of their latest change, deleted ones included.

        All conditions hold at once.

        Args:
            target: Which records. A connection's name costs little more than its row id.
            after_cursor: Only changes after this one.
            limit: Most records to return.
            filters: Only records whose last action is one of these.
            modified_after: Only records that changed at this moment or later.
            ids: Only these records.
            conn: Connection whose transaction this joins.

        Raises:
            InvalidInputError: `invalid_cursor`.
            UnavailableError: Postgres does not answer.
        """
        first = _first_arguments(target)
        place = decode_cursor(after_cursor) if after_cursor is not None else 0
        kinds = [kind in filters for kind in RecordFilter]
        async with borrowed(self._pool, conn) as connection:
            if ids is not None:
                which = (*first, place, modified_after, *kinds, limit + 1, ids)
                rows = await connection.fetch(_LIST_BY_IDS, *which)
            else:
                if modified_after is not None:
                    place = await connection.fetchval(_PLACE_BEFORE, *first, place, modified_after)
                if set(filters) == {RecordFilter.DELETED}:
                    which = (*first, place, modified_after, limit + 1)
                    rows = await connection.fetch(_LIST_DELETED, *which)
                else:
                    which = (*first, place, modified_after, *kinds, limit + 1)
                    rows = await connection.fetch(_LIST, *which)
        return _page(rows[:limit], has_more=len(rows) > limit)


def _first_arguments(target: RecordSet | NamedRecordSet) -> tuple[object, ...]:
    """Return the first arguments of each statement, which say which records it is about."""
    if isinstance(target, RecordSet):
        return (target.connection_key, None, None, None, target.model, target.variant)
    named = (target.environment_id, target.integration, target.connection_id)
    return (None, *named, target.model, target.variant)


def _page(rows: Sequence[asyncpg.Record], *, has_more: bool) -> RecordPage:
    if not rows:
        return RecordPage((), (), (), None)
    payloads, moments, places = zip(*rows, strict=True)
    # Records that were saved together have all of them in common.
    described = {them: _metadata(them) for them in set(moments)}
    return RecordPage(
        payloads=payloads,
        described=tuple(map(described.__getitem__, moments)),
        places=places,
        next_cursor=encode_cursor(places[-1]) if has_more else None,
    )


@lru_cache(maxsize=4096)
def _metadata(moments: bytes) -> bytes:
    first_seen, last_modified, *gone = struct.unpack(f">{len(moments) // 8}q", moments)
    deleted, pruned = gone or (_NEVER, _NEVER)
    return metadata(
        _moment(first_seen),
        _moment(last_modified),
        None if deleted == _NEVER else _moment(deleted),
        None if pruned == _NEVER else _moment(pruned),
    )


def _moment(sent: int) -> datetime:
    return _POSTGRES_EPOCH + timedelta(microseconds=sent)
