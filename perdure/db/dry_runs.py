"""What dry runs would do to records: found out by doing it, and taking it back.

A batch of a dry run is written to the records themselves by the statements of a real run, inside a
transaction that is rolled back. What the run has previewed before is written first, so that a
record it saves twice is added once. Nothing of it is ever seen by others.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.record_batches import BatchResult, RecordSet, Writer
from perdure.db.records import RecordPage, RecordStore
from perdure.records.canonical import JsonObject, to_json
from perdure.records.prepare import PreparedBatch, PreparedDeletion

__all__ = ["Absent", "DryRunStore", "Fate", "PreviewedRecord", "StoredDryRun", "Touched"]

# Where a page begins that shows what a dry run would have changed.
_PLACE = re.compile(r"changed:([0-9]{1,18})")

Fate: TypeAlias = Literal["added", "updated", "deleted", "unchanged"]

_BEGIN = """
WITH old AS (
    DELETE FROM dry_runs WHERE created_at < now() - interval '7 days'
), records AS (
    DELETE FROM dry_run_records WHERE run_id IN (
        SELECT id FROM runs WHERE dry_run AND status <> 'running')
), exchanges AS (
    DELETE FROM dry_run_exchanges WHERE run_id IN (
        SELECT id FROM runs WHERE dry_run AND status <> 'running')
)
INSERT INTO dry_runs (run_id) VALUES ($1) ON CONFLICT (run_id) DO NOTHING
"""

_EARLIER = """
SELECT external_id, payload, payload_hash, deleted
  FROM dry_run_records
 WHERE run_id = $1 AND model = $2 AND external_id = ANY ($3::text[])
 ORDER BY place
"""

_AFTER = """
SELECT r.external_id, r.payload, r.payload_hash, r.deleted_at IS NOT NULL AS deleted
  FROM unnest($4::text[]) WITH ORDINALITY AS u (id, place)
  JOIN records r ON r.connection_key = $1 AND r.model = $2 AND r.variant = $3
                AND r.external_id = u.id
 ORDER BY u.place
"""

_REMEMBER = """
INSERT INTO dry_run_records AS d (
    run_id, model, external_id, payload, payload_hash, deleted, merged
)
SELECT $1, $2, u.id, u.payload, u.hash, u.deleted, $7
  FROM unnest($3::text[], $4::json[], $5::bytea[], $6::boolean[])
       WITH ORDINALITY AS u (id, payload, hash, deleted, place)
 ORDER BY u.place
ON CONFLICT (run_id, model, external_id) DO UPDATE
   SET payload = excluded.payload,
       payload_hash = excluded.payload_hash,
       deleted = excluded.deleted,
       merged = d.merged OR excluded.merged
"""

_ABSENT = """
SELECT count(*) FILTER (WHERE d.external_id IS NULL) AS absent,
       (SELECT count(*) FROM dry_run_records
         WHERE run_id = $1 AND model = $3 AND NOT deleted) AS seen
  FROM records r
  LEFT JOIN dry_run_records d
    ON d.run_id = $1 AND d.model = r.model AND d.external_id = r.external_id
 WHERE r.connection_key = $2 AND r.model = $3 AND r.variant = $4 AND r.deleted_at IS NULL
"""

_DELETE_ABSENT = """
INSERT INTO dry_run_records (run_id, model, external_id, payload, payload_hash, deleted)
SELECT $1, r.model, r.external_id, r.payload, r.payload_hash, true
  FROM records r
 WHERE r.connection_key = $2 AND r.model = $3 AND r.variant = $4 AND r.deleted_at IS NULL
   AND NOT EXISTS (
       SELECT FROM dry_run_records d
        WHERE d.run_id = $1 AND d.model = $3 AND d.external_id = r.external_id)
RETURNING external_id
"""

_NET = """
WITH net AS (
    SELECT d.model, d.external_id, d.place, d.payload AS after, r.payload AS before,
           CASE
               WHEN d.deleted AND (r.external_id IS NULL OR r.deleted_at IS NOT NULL)
               THEN 'unchanged'
               WHEN d.deleted THEN 'deleted'
               WHEN r.external_id IS NULL OR r.deleted_at IS NOT NULL THEN 'added'
               WHEN r.payload_hash <> d.payload_hash THEN 'updated'
               ELSE 'unchanged'
           END AS fate
      FROM dry_run_records d
      LEFT JOIN records r
        ON r.connection_key = $2 AND r.model = d.model AND r.variant = $3
       AND r.external_id = d.external_id
     WHERE d.run_id = $1
), numbered AS (
    SELECT model, fate, external_id, before, after,
           count(*) OVER (PARTITION BY model, fate) AS total,
           row_number() OVER (PARTITION BY model, fate ORDER BY place) AS number
      FROM net
)
SELECT model, fate, external_id, before, after, total
  FROM numbered
 WHERE number <= $4
 ORDER BY model, fate, number
"""

_TOUCHED = """
SELECT d.model, d.external_id, d.payload AS after, d.deleted,
       CASE WHEN d.merged AND r.deleted_at IS NULL THEN r.payload END AS before
  FROM dry_run_records d
  LEFT JOIN records r
    ON r.connection_key = $2 AND r.model = d.model AND r.variant = $3
   AND r.external_id = d.external_id
 WHERE d.run_id = $1
 ORDER BY d.model, d.place
 LIMIT $4
"""

# Those that are not as the records are now.
_CHANGED = """
SELECT d.external_id, d.place
  FROM dry_run_records d
  LEFT JOIN records r
    ON r.connection_key = $2 AND r.model = d.model AND r.variant = $4
   AND r.external_id = d.external_id
 WHERE d.run_id = $1 AND d.model = $3 AND d.place > $5
   AND ($6::text[] IS NULL OR d.external_id = ANY ($6::text[]))
   AND (r.external_id IS NULL OR r.payload_hash <> d.payload_hash
        OR (r.deleted_at IS NOT NULL) <> d.deleted)
 ORDER BY d.place
 LIMIT $7
"""

_NOTE_EXCHANGE = """
INSERT INTO dry_run_exchanges (run_id, step, exchange) VALUES ($1, $2, $3)
ON CONFLICT (run_id, step) DO UPDATE SET exchange = excluded.exchange
"""

_EXCHANGES = """
SELECT exchange FROM dry_run_exchanges WHERE run_id = $1 ORDER BY place LIMIT $2
"""

_END = """
WITH records AS (
    DELETE FROM dry_run_records WHERE run_id = $1
), exchanges AS (
    DELETE FROM dry_run_exchanges WHERE run_id = $1
)
INSERT INTO dry_runs (run_id, report, fixture) VALUES ($1, $2, $3)
ON CONFLICT (run_id) DO UPDATE SET report = excluded.report, fixture = excluded.fixture
"""

_GET = "SELECT report, fixture FROM dry_runs WHERE run_id = $1"


@dataclass(frozen=True, slots=True)
class Absent:
    """Records that a dry run did not see.

    Attributes:
        live: How many there would be, these included.
        absent: How many were not seen.
        saw_any: Whether it saved any.
    """

    live: int
    absent: int
    saw_any: bool


@dataclass(frozen=True, slots=True)
class PreviewedRecord:
    """One of the first records of a fate, and how many share it.

    Attributes:
        before: The record as it is, None where it is not there.
        after: The record as it would be.
        total: How many records of the model have this fate.
    """

    model: str
    fate: Fate
    record_id: str
    before: JsonObject | None
    after: JsonObject | None
    total: int


@dataclass(frozen=True, slots=True)
class Touched:
    """A record that a dry run wrote.

    Attributes:
        after: As it would be.
        before: As it is, where fields were merged into it.
        deleted: Whether it would be deleted.
    """

    model: str
    record_id: str
    after: JsonObject | None
    before: JsonObject | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class StoredDryRun:
    """What a dry run came to; both are None before its end."""

    report: JsonObject | None
    fixture: JsonObject | None


class DryRunStore:
    """Keeps what dry runs would do.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        records: Writes records.
    """

    def __init__(self, pool: Pool, records: RecordStore) -> None:
        self._pool = pool
        self._records = records

    async def begin(self, run_id: str) -> None:
        """Note a dry run whose row is there, and clear away what others have left."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_BEGIN, run_id)

    async def preview(
        self,
        run_id: str,
        target: RecordSet,
        ids: Sequence[str],
        write: Callable[[DbConnection], Awaitable[BatchResult]],
        *,
        merges: bool = False,
        conn: DbConnection,
    ) -> BatchResult:
        """Return what a write would do.

        Args:
            run_id: The dry run.
            target: What is written to.
            ids: Which records.
            write: Writes them by the connection it is given.
            merges: Whether it merges fields into what is there.
            conn: Connection whose transaction this joins; the write itself is rolled back.
        """
        async with self._redone(run_id, target, ids, conn):
            result = await write(conn)
            rows = await conn.fetch(
                _AFTER, target.connection_key, target.model, target.variant, list(ids)
            )
        await conn.execute(
            _REMEMBER,
            run_id,
            target.model,
            [row["external_id"] for row in rows],
            [row["payload"] for row in rows],
            [row["payload_hash"] for row in rows],
            [row["deleted"] for row in rows],
            merges,
        )
        return result

    async def read(
        self,
        run_id: str,
        target: RecordSet,
        *,
        ids: Sequence[str] | None,
        after_cursor: str | None,
        limit: int,
    ) -> RecordPage:
        """Return records as a dry run would find them: what it would have changed comes last.

        Args:
            run_id: The dry run.
            target: Which records.
            ids: Only these; None for all.
            after_cursor: `next_cursor` of the page before, or a cursor of the stream.
            limit: Most records to return.

        Raises:
            InvalidInputError: `invalid_cursor`.
        """
        if ids is not None:
            return await self._as_changed(run_id, target, ids)
        place = _PLACE.fullmatch(after_cursor or "")
        if place is None:
            page = await self._records.list(target, after_cursor=after_cursor, limit=limit)
            names = [str(json.loads(record)["id"]) for record in page.records]
            changed = {name for name, _ in await self._changed(run_id, target, ids=names)}
            kept = [number for number, name in enumerate(names) if name not in changed]
            return replace(page.only(kept), next_cursor=page.next_cursor or "changed:0")
        found = await self._changed(run_id, target, after=int(place[1]), limit=limit + 1)
        page = await self._as_changed(run_id, target, [name for name, _ in found[:limit]])
        more = f"changed:{found[limit - 1][1]}" if len(found) > limit else None
        return replace(page, next_cursor=more)

    async def _changed(
        self,
        run_id: str,
        target: RecordSet,
        *,
        ids: Sequence[str] | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[tuple[str, int]]:
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _CHANGED,
                run_id,
                target.connection_key,
                target.model,
                target.variant,
                after,
                ids,
                limit,
            )
        return [(row["external_id"], row["place"]) for row in rows]

    async def _as_changed(self, run_id: str, target: RecordSet, ids: Sequence[str]) -> RecordPage:
        async with borrowed(self._pool) as conn, self._redone(run_id, target, ids, conn):
            return await self._records.list(target, ids=ids, limit=len(ids), conn=conn)

    @asynccontextmanager
    async def _redone(
        self, run_id: str, target: RecordSet, ids: Sequence[str], conn: DbConnection
    ) -> AsyncIterator[None]:
        """Have written, as long as this lasts, what a dry run has previewed of some records."""
        undone = conn.transaction()
        await undone.start()
        try:
            rows = await conn.fetch(_EARLIER, run_id, target.model, list(ids))
            by = Writer(run_id=run_id)
            saved = _batch([row for row in rows if not row["deleted"]])
            deleted = _batch([row for row in rows if row["deleted"]])
            await self._records.save(target, saved, by=by, conn=conn)
            gone = PreparedDeletion(deleted, (None,) * len(deleted))
            await self._records.delete(target, gone, by=by, conn=conn)
            yield
        finally:
            await undone.rollback()

    async def absent(self, run_id: str, target: RecordSet) -> Absent:
        """Count the records that a dry run has not written."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(
                _ABSENT, run_id, target.connection_key, target.model, target.variant
            )
        assert row is not None  # noqa: S101 - an aggregate has always a row
        absent, seen = row["absent"], row["seen"]
        return Absent(live=absent + seen, absent=absent, saw_any=seen > 0)

    async def delete_absent(self, run_id: str, target: RecordSet) -> Sequence[str]:
        """Preview the deletion of what a dry run has not written, and return the ids."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(
                _DELETE_ABSENT, run_id, target.connection_key, target.model, target.variant
            )
        return [row["external_id"] for row in rows]

    async def net(
        self, run_id: str, connection_key: int, variant: str, *, first: int
    ) -> Sequence[PreviewedRecord]:
        """Return the first records of each model and fate, all batches taken together."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_NET, run_id, connection_key, variant, first)
        return [
            PreviewedRecord(
                row["model"],
                row["fate"],
                row["external_id"],
                _decoded(row["before"]),
                _decoded(row["after"]),
                row["total"],
            )
            for row in rows
        ]

    async def touched(
        self, run_id: str, connection_key: int, variant: str, *, limit: int
    ) -> Sequence[Touched]:
        """Return the records that a dry run wrote, in the order in which it did."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_TOUCHED, run_id, connection_key, variant, limit)
        return [
            Touched(
                row["model"],
                row["external_id"],
                _decoded(row["after"]),
                _decoded(row["before"]),
                row["deleted"],
            )
            for row in rows
        ]

    async def note_exchange(self, run_id: str, step: str, exchange: JsonObject) -> None:
        """Keep a request and its answer; of the attempts of a step the last one counts."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_NOTE_EXCHANGE, run_id, step, to_json(exchange))

    async def exchanges(self, run_id: str, *, limit: int) -> Sequence[JsonObject]:
        """Return what was kept, in order."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_EXCHANGES, run_id, limit)
        return [json.loads(row["exchange"]) for row in rows]

    async def end(self, run_id: str, report: JsonObject, fixture: JsonObject | None) -> None:
        """Keep what a dry run came to, and drop what it came from."""
        encoded = None if fixture is None else to_json(fixture)
        async with borrowed(self._pool) as conn:
            await conn.execute(_END, run_id, to_json(report), encoded)

    async def get(self, run_id: str) -> StoredDryRun | None:
        """Return what a dry run came to; None where the run is none, or too old."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_GET, run_id)
        if row is None:
            return None
        return StoredDryRun(_decoded(row["report"]), _decoded(row["fixture"]))


def _batch(rows: Sequence[Any]) -> PreparedBatch:
    return PreparedBatch(
        ids=tuple(row["external_id"] for row in rows),
        payloads=tuple(row["payload"] or _bare(row["external_id"]) for row in rows),
        hashes=tuple(row["payload_hash"] for row in rows),
    )


def _bare(record_id: str) -> bytes:
    return to_json({"id": record_id})


def _decoded(data: bytes | None) -> Any:
    return None if data is None else json.loads(data)
