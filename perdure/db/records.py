"""The records cache: what connections hold, and the stream of its changes.

How records are written, and what the stream promises, stands in `perdure.db.record_writes`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from perdure.db.pool import DbConnection, borrowed
from perdure.db.record_batches import BatchResult, ModelCounts, RecordSet, Writer
from perdure.db.record_writes import RecordWriter
from perdure.records.cursor import decode_cursor, encode_cursor
from perdure.records.splice import StoredRecord, records_body, splice

__all__ = [
    "BatchResult",
    "ModelCounts",
    "RecordFilter",
    "RecordPage",
    "RecordSet",
    "RecordStore",
    "Writer",
]

# `change_seq > 0`, here and elsewhere, has Postgres go by the index of the stream.
_LIST = """
SELECT external_id, payload, first_seen_at, last_modified_at, deleted_at, pruned_at, change_seq
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3
   AND change_seq > 0 AND change_seq > $4
   AND ($5::timestamptz IS NULL OR last_modified_at >= $5)
   AND ( ($6 AND deleted_at IS NULL AND last_modified_at = first_seen_at)
      OR ($7 AND deleted_at IS NULL AND last_modified_at > first_seen_at)
      OR ($8 AND deleted_at IS NOT NULL) )
 ORDER BY change_seq
 LIMIT $9
"""

# The deleted ones alone have an index of their own: among many others they may be far apart.
_LIST_DELETED = """
SELECT external_id, payload, first_seen_at, last_modified_at, deleted_at, pruned_at, change_seq
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3
   AND deleted_at IS NOT NULL AND change_seq > $4
   AND ($5::timestamptz IS NULL OR last_modified_at >= $5)
 ORDER BY change_seq
 LIMIT $6
"""

# Moments follow the stream, but for clocks that are set right, by less than an hour: so a place
# before everything that changed since a moment is found by halving, whatever lies before it.
_PLACE_BEFORE = """
WITH RECURSIVE search AS (
    SELECT $4::bigint AS low, coalesce((
               SELECT change_seq
                 FROM records
                WHERE connection_key = $1 AND model = $2 AND variant = $3 AND change_seq > 0
                ORDER BY change_seq DESC
                LIMIT 1), 0) AS high
    UNION ALL
    SELECT CASE WHEN following.is_older THEN following.change_seq ELSE s.low END,
           CASE WHEN following.is_older THEN s.high ELSE s.low + (s.high - s.low) / 2 END
      FROM search s LEFT JOIN LATERAL (
          SELECT r.change_seq, r.last_modified_at < $5::timestamptz - interval '1 hour' AS is_older
            FROM records r
           WHERE r.connection_key = $1 AND r.model = $2 AND r.variant = $3
             AND r.change_seq > 0 AND r.change_seq > s.low + (s.high - s.low) / 2
           ORDER BY r.change_seq
           LIMIT 1) following ON true
     WHERE s.low < s.high
)
SELECT max(low) FROM search
"""

_LIST_BY_IDS = """
SELECT external_id, payload, first_seen_at, last_modified_at, deleted_at, pruned_at, change_seq
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3
   AND external_id = ANY ($10::text[])
   AND change_seq > $4
   AND ($5::timestamptz IS NULL OR last_modified_at >= $5)
   AND ( ($6 AND deleted_at IS NULL AND last_modified_at = first_seen_at)
      OR ($7 AND deleted_at IS NULL AND last_modified_at > first_seen_at)
      OR ($8 AND deleted_at IS NOT NULL) )
 ORDER BY change_seq
 LIMIT $9
"""


class RecordFilter(StrEnum):
    """What happened to a record last."""

    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of the stream, each record a JSON object with its `_nango_metadata`.

    Attributes:
        records: Encoded records in the order of their latest change.
        places: The place of each of them in the stream.
        next_cursor: Cursor of the last record when more follow, else None.
    """

    records: tuple[bytes, ...]
    places: tuple[int, ...]
    next_cursor: str | None

    @property
    def cursors(self) -> tuple[str, ...]:
        """The cursor of each record."""
        return tuple(map(encode_cursor, self.places))

    def body(self) -> bytes:
        """Return the JSON body `{"next_cursor":...,"records":[...]}`."""
        return records_body(self.records, self.next_cursor)


class RecordStore(RecordWriter):
    """Writes and reads records."""

    async def list(
        self,
        target: RecordSet,
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
            target: Which records.
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
        arguments: list[object] = [
            target.connection_key,
            target.model,
            target.variant,
            decode_cursor(after_cursor) if after_cursor is not None else 0,
            modified_after,
            RecordFilter.ADDED in filters,
            RecordFilter.UPDATED in filters,
            RecordFilter.DELETED in filters,
            limit + 1,
        ]
        async with borrowed(self._pool, conn) as connection:
            if ids is None:
                if modified_after is not None:
                    arguments[3] = await connection.fetchval(_PLACE_BEFORE, *arguments[:5])
                if set(filters) == {RecordFilter.DELETED}:
                    rows = await connection.fetch(_LIST_DELETED, *arguments[:5], limit + 1)
                else:
                    rows = await connection.fetch(_LIST, *arguments)
            else:
                rows = await connection.fetch(_LIST_BY_IDS, *arguments, ids)
        shown = rows[:limit]
        more = len(rows) > limit
        return RecordPage(
            records=tuple(splice(StoredRecord(*row)) for row in shown),
            places=tuple(row["change_seq"] for row in shown),
            next_cursor=encode_cursor(shown[-1]["change_seq"]) if more and shown else None,
        )
