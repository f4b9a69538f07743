"""Which records a sync has not seen since a moment, and how they are deleted.

A track begins at a place in the stream of a set. Whatever stands further on was written since, and
is evidently there; what writes found unchanged is noted (`perdure.db.record_writes`). The rest is
absent. So a record that anybody touched or saw since the beginning is never deleted, whatever
becomes of runs and processes: a note is in the transaction of its write.

A track whose deletion is held back stays, and goes on taking notes, until it is confirmed,
dismissed or superseded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.record_batches import RecordSet
from perdure.db.record_changes import announce
from perdure.db.record_writes import take_turn
from perdure.ids import BASE_VARIANT, ConnectionKey
from perdure.records.delete_guard import must_be_confirmed

__all__ = ["DeleteTrack", "DeleteTrackStore", "Weighed", "track_of"]

_PLACE = """
SELECT change_seq
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3 AND change_seq > 0
 ORDER BY change_seq DESC
 LIMIT 1
"""

_DROP_OF_OTHER_RUNS = """
DELETE FROM delete_tracks
 WHERE connection_key = $1 AND sync = $2 AND variant = $3
   AND run_id IS NOT NULL AND run_id <> $4 AND held_at IS NULL
"""

_BEGIN_RUN = """
INSERT INTO delete_tracks (connection_key, sync, model, variant, run_id, after_seq)
SELECT $1, $2, wanted.model, $3, $4, coalesce(
           (SELECT change_seq
              FROM records
             WHERE connection_key = $1 AND records.model = wanted.model AND variant = $3
               AND change_seq > 0
             ORDER BY change_seq DESC
             LIMIT 1), 0)
  FROM unnest($5::text[]) AS wanted (model)
ON CONFLICT (run_id, model) WHERE run_id IS NOT NULL DO NOTHING
"""

_BEGIN_SCRIPT = """
INSERT INTO delete_tracks (connection_key, sync, model, variant, after_seq)
SELECT $1, $2, $3, $4, coalesce(
           (SELECT change_seq
              FROM records
             WHERE connection_key = $1 AND records.model = $3 AND variant = $4
               AND change_seq > 0
             ORDER BY change_seq DESC
             LIMIT 1), 0)
ON CONFLICT (connection_key, sync, model, variant) WHERE run_id IS NULL AND held_at IS NULL
   DO NOTHING
RETURNING id
"""

_OF_RUN = """
SELECT id, connection_key, model, variant, sync, run_id, after_seq, held_at, held_by, live, absent
  FROM delete_tracks
 WHERE run_id = $1 AND model = $2
"""

_OF_SCRIPT = """
SELECT id, connection_key, model, variant, sync, run_id, after_seq, held_at, held_by, live, absent
  FROM delete_tracks
 WHERE connection_key = $1 AND model = $2 AND variant = $3 AND sync = $4
   AND run_id IS NULL AND (held_at IS NULL OR held_by = $5)
 ORDER BY held_at NULLS FIRST
 LIMIT 1
"""

_BY_ID = """
SELECT id, connection_key, model, variant, sync, run_id, after_seq, held_at, held_by, live, absent
  FROM delete_tracks
 WHERE id = $1
"""

_HELD = """
SELECT id, connection_key, model, variant, sync, run_id, after_seq, held_at, held_by, live, absent
  FROM delete_tracks
 WHERE connection_key = $1 AND held_at IS NOT NULL
   AND sync = $2 AND variant = $3 AND ($4::text IS NULL OR model = $4)
 ORDER BY model, id
"""

_HELD_BY = """
SELECT id, connection_key, model, variant, sync, run_id, after_seq, held_at, held_by, live, absent
  FROM delete_tracks
 WHERE held_by = $1
 ORDER BY model, id
"""

_WEIGH = """
SELECT (SELECT count(*)
          FROM records
         WHERE connection_key = t.connection_key AND model = t.model AND variant = t.variant
           AND deleted_at IS NULL) AS live,
       (SELECT count(*)
          FROM records r
         WHERE r.connection_key = t.connection_key AND r.model = t.model
           AND r.variant = t.variant AND r.deleted_at IS NULL AND r.change_seq <= t.after_seq
           AND NOT EXISTS (SELECT FROM seen_records s
                            WHERE s.track_id = t.id AND s.external_id = r.external_id)) AS absent,
       t.saw_any
  FROM delete_tracks t
 WHERE t.id = $1
"""

_HOLD = """
UPDATE delete_tracks SET held_at = coalesce(held_at, now()), held_by = $2, live = $3, absent = $4
 WHERE id = $1
"""

_RELEASE = """
UPDATE delete_tracks SET held_at = NULL, held_by = NULL, live = NULL, absent = NULL
 WHERE id = $1 AND held_at IS NOT NULL
"""

_SUPERSEDE = """
DELETE FROM delete_tracks
 WHERE connection_key = $1 AND model = $2 AND variant = $3 AND sync = $4
   AND held_at IS NOT NULL AND id <> $5
"""

_ABSENT = """
SELECT r.external_id
  FROM records r
 WHERE r.connection_key = $1 AND r.model = $2 AND r.variant = $3
   AND r.external_id > $6
   AND r.deleted_at IS NULL AND r.change_seq <= $5
   AND NOT EXISTS (SELECT FROM seen_records s
                    WHERE s.track_id = $4 AND s.external_id = r.external_id)
 ORDER BY r.external_id
 LIMIT $7
"""

# While it lasts nobody can drop the track, and with it the notes that protect records.
_KEEP_TRACK = "SELECT FROM delete_tracks WHERE id = $1 FOR SHARE"

# Only under the turn. What was written or seen since it was found absent stays. OFFSET 0 has each
# record looked up by its key: of sets that have just been written Postgres knows no statistics,
# and might go through all of them for each.
_DELETE_ABSENT = """
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), gone AS (
    UPDATE records r
       SET last_modified_at = greatest(moment.at, r.last_modified_at + interval '1 us'),
           deleted_at = greatest(moment.at, r.last_modified_at + interval '1 us'),
           change_seq = nextval('record_changes'),
           last_run_id = $7
      FROM moment
     WHERE r.ctid = ANY (ARRAY(
         SELECT found.ctid
           FROM unnest($6::text[]) AS wanted (id), LATERAL (
               SELECT ctid, deleted_at, change_seq
                 FROM records
                WHERE connection_key = $1 AND model = $2 AND variant = $3
                  AND external_id = wanted.id
               OFFSET 0) found
          WHERE found.deleted_at IS NULL AND found.change_seq <= $5
            AND NOT EXISTS (SELECT FROM seen_records s
                             WHERE s.track_id = $4 AND s.external_id = wanted.id)))
    RETURNING 1
), counted AS (
    UPDATE record_counts SET live = live - (SELECT count(*) FROM gone)
     WHERE connection_key = $1 AND model = $2 AND variant = $3
)
SELECT count(*) FROM gone
"""

_COUNT_DELETED = """
SELECT count(*)
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3
   AND change_seq > 0 AND change_seq > $4 AND deleted_at IS NOT NULL AND last_run_id = $5
"""

_DELETED_IDS = """
SELECT external_id
  FROM records
 WHERE connection_key = $1 AND model = $2 AND variant = $3
   AND change_seq > 0 AND change_seq > $4 AND deleted_at IS NOT NULL AND last_run_id = $5
 ORDER BY change_seq
 LIMIT $6
"""

_DROP = "DELETE FROM delete_tracks WHERE id = ANY ($1::bigint[])"

_DROP_OF_RUN = "DELETE FROM delete_tracks WHERE run_id = $1 AND held_at IS NULL"

_DROP_OF_SYNC = """
DELETE FROM delete_tracks WHERE connection_key = $1 AND sync = $2 AND variant = $3
"""

# From one track's notes to the next one's by the primary key. Two that sweep share the work.
_SWEEP = """
WITH RECURSIVE noted AS (
    (SELECT track_id FROM seen_records ORDER BY track_id LIMIT 1)
    UNION ALL
    SELECT next.track_id
      FROM noted, LATERAL (
          SELECT s.track_id FROM seen_records s
           WHERE s.track_id > noted.track_id
           ORDER BY s.track_id
           LIMIT 1) next
), orphans AS MATERIALIZED (
    SELECT track_id FROM noted n
     WHERE NOT EXISTS (SELECT FROM delete_tracks t WHERE t.id = n.track_id)
)
DELETE FROM seen_records
 WHERE ctid = ANY (ARRAY(
     SELECT s.ctid
       FROM orphans o
       JOIN seen_records s ON s.track_id = o.track_id
      LIMIT $1
        FOR UPDATE OF s SKIP LOCKED))
"""

# Counting or finding what is absent may take minutes where there are very many records.
_LONG = 900.0


@dataclass(frozen=True, slots=True)
class DeleteTrack:
    """A track as it stands.

    Attributes:
        id: Its id.
        target: The records it is about.
        sync: Name of the sync.
        run_id: The run whose sight counts; None where a script tracks over several runs.
        after_seq: Place in the stream where it began.
        held_at: Since when its deletion is held back, None while it is not.
        held_by: The run that held it back.
        live: How many records there were then.
        absent: How many of them would have been deleted.
    """

    id: int
    target: RecordSet
    sync: str
    run_id: str | None
    after_seq: int
    held_at: datetime | None
    held_by: str | None
    live: int | None
    absent: int | None


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a deletion would do.

    Attributes:
        live: How many records are there.
        absent: How many of them would be deleted.
        held: Whether it waits for somebody's word.
        place: The set's last place in the stream; what is deleted comes after it.
    """

    live: int
    absent: int
    held: bool
    place: int


class DeleteTrackStore:
    """Keeps delete tracks.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def place(self, target: RecordSet) -> int:
        """Return a set's last place in the stream, 0 where it is empty."""
        async with borrowed(self._pool) as conn:
            place: int | None = await conn.fetchval(
                _PLACE, target.connection_key, target.model, target.variant
            )
        return place or 0

    async def begin_run(
        self,
        connection_key: ConnectionKey,
        sync: str,
        models: Sequence[str],
        run_id: str,
        variant: str = BASE_VARIANT,
        *,
        conn: DbConnection | None = None,
    ) -> None:
        """Begin the tracks of a run; those of earlier runs, which can end no more, are dropped.

        Saying so again changes nothing.

        Args:
            connection_key: Whose records.
            sync: Name of the sync.
            models: Its models, one track each.
            run_id: The run.
            variant: Variant of the sync.
            conn: Connection whose transaction this joins.
        """
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_DROP_OF_OTHER_RUNS, connection_key, sync, variant, run_id)
            await connection.execute(_BEGIN_RUN, connection_key, sync, variant, run_id, models)

    async def begin_script(self, target: RecordSet, sync: str) -> bool:
        """Begin a track that lasts until it is ended, over as many runs as that takes.

        Returns:
            Whether it began now; False where one was open, which is taken up.
        """
        async with borrowed(self._pool) as conn:
            begun = await conn.fetchval(
                _BEGIN_SCRIPT, target.connection_key, sync, target.model, target.variant
            )
        return begun is not None

    async def of_run(self, run_id: str, model: str) -> DeleteTrack | None:
        """Return a run's track of a model, None where there is none."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_OF_RUN, run_id, model)
        return None if row is None else track_of(row)

    async def of_script(self, target: RecordSet, sync: str, run_id: str) -> DeleteTrack | None:
        """Return the open track of a script, or else one that this very run has held back."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(
                _OF_SCRIPT, target.connection_key, target.model, target.variant, sync, run_id
            )
        return None if row is None else track_of(row)

    async def by_id(self, track_id: int) -> DeleteTrack | None:
        """Return a track, None where it was dropped."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_BY_ID, track_id)
        return None if row is None else track_of(row)

    async def held(
        self,
        connection_key: ConnectionKey,
        sync: str,
        variant: str = BASE_VARIANT,
        model: str | None = None,
    ) -> Sequence[DeleteTrack]:
        """Return the tracks of a sync whose deletion is held back, by model."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_HELD, connection_key, sync, variant, model)
        return [track_of(row) for row in rows]

    async def held_by(self, run_id: str) -> Sequence[DeleteTrack]:
        """Return the tracks that a run has held back, by model."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_HELD_BY, run_id)
        return [track_of(row) for row in rows]

    async def weigh(
        self, track: DeleteTrack, *, share: float | None, run_id: str
    ) -> Weighed | None:
        """Decide whether what is absent may be deleted; if not, mark the track as held back.

        Either way the decision supersedes what earlier runs have held back.

        Args:
            track: The track.
            share: Share of the records that may go, None for no limit.
            run_id: The run that wants to delete.

        Returns:
            What was found; None where the track was dropped.
        """
        target = track.target
        async with borrowed(self._pool) as conn, conn.transaction():
            found = await conn.fetchrow(_WEIGH, track.id, timeout=_LONG)
            if found is None:
                return None
            held = must_be_confirmed(
                live=found["live"], absent=found["absent"], saw_any=found["saw_any"], share=share
            )
            place = await conn.fetchval(_PLACE, target.connection_key, target.model, target.variant)
            if held:
                await conn.execute(_HOLD, track.id, run_id, found["live"], found["absent"])
            else:
                await conn.execute(_RELEASE, track.id)
            await conn.execute(
                _SUPERSEDE,
                *(target.connection_key, target.model, target.variant),
                *(track.sync, track.id),
            )
        return Weighed(found["live"], found["absent"], held, place or 0)

    async def absent(self, track: DeleteTrack, *, after_id: str, limit: int) -> Sequence[str]:
        """Return ids that are absent, in order.

        Args:
            track: The track.
            after_id: Only ids after this one.
            limit: Most ids to return.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_ABSENT, *_of(track), after_id, limit, timeout=_LONG)
        return [row["external_id"] for row in rows]

    async def delete(
        self, track: DeleteTrack, ids: Sequence[str], *, run_id: str, conn: DbConnection
    ) -> int | None:
        """Mark records as deleted that are still absent; their payload stays readable.

        Args:
            track: The track.
            ids: From `absent`.
            run_id: What wrote last is this run.
            conn: Connection whose transaction this joins.

        Returns:
            How many were deleted; None where the track was dropped, and nothing was deleted.
        """
        async with borrowed(self._pool, conn) as connection:
            await take_turn(connection, track.target)
            if await connection.fetchrow(_KEEP_TRACK, track.id) is None:
                return None
            count: int = await connection.fetchval(_DELETE_ABSENT, *_of(track), ids, run_id)
            if count:
                await announce(connection, track.target)
        return count

    async def deleted_since(
        self, target: RecordSet, place: int, run_id: str, *, limit: int
    ) -> tuple[int, Sequence[str]]:
        """Return how many records a run has deleted after a place in the stream, and which.

        Args:
            target: Which records.
            place: The place.
            run_id: The run.
            limit: Most ids to return.
        """
        of = (target.connection_key, target.model, target.variant, place, run_id)
        async with borrowed(self._pool) as conn:
            count: int = await conn.fetchval(_COUNT_DELETED, *of, timeout=_LONG)
            rows = await conn.fetch(_DELETED_IDS, *of, limit) if limit else []
        return count, [row["external_id"] for row in rows]

    async def drop(self, track_ids: Sequence[int]) -> int:
        """Drop tracks, and return how many there were; `sweep` removes their notes."""
        async with borrowed(self._pool) as conn:
            tag = await conn.execute(_DROP, track_ids)
        return int(tag.removeprefix("DELETE "))

    async def drop_of_run(self, run_id: str) -> None:
        """Drop a run's tracks but those that are held back."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_DROP_OF_RUN, run_id)

    async def drop_of_sync(
        self,
        connection_key: ConnectionKey,
        sync: str,
        variant: str = BASE_VARIANT,
        *,
        conn: DbConnection | None = None,
    ) -> None:
        """Drop all tracks of a sync that starts anew or is deleted, held ones included."""
        async with borrowed(self._pool, conn) as connection:
            await connection.execute(_DROP_OF_SYNC, connection_key, sync, variant)

    async def sweep(self, *, limit: int) -> int:
        """Remove notes of tracks that were dropped.

        Args:
            limit: Most notes to remove in this one statement.

        Returns:
            How many were removed: fewer than `limit` when none is left.
        """
        async with borrowed(self._pool) as conn:
            tag = await conn.execute(_SWEEP, limit)
        return int(tag.removeprefix("DELETE "))


def _of(track: DeleteTrack) -> tuple[object, ...]:
    target = track.target
    return (
        target.connection_key,
        target.model,
        target.variant,
        track.id,
        track.after_seq,
    )


def track_of(row: asyncpg.Record) -> DeleteTrack:
    """Return the track of a row."""
    return DeleteTrack(
        id=row["id"],
        target=RecordSet(row["connection_key"], row["model"], row["variant"]),
        sync=row["sync"],
        run_id=row["run_id"],
        after_seq=row["after_seq"],
        held_at=row["held_at"],
        held_by=row["held_by"],
        live=row["live"],
        absent=row["absent"],
    )
