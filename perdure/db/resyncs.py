"""Syncs that start over: resets, and records that are built anew beside those readers see.

What the next run is to do first is noted with the sync, and taken by that run in the transaction
that notes its start: a reset that was asked for is never lost, nor done twice.

A run that empties the cache writes into a set of its own, the shadow. When it has succeeded, one
transaction puts the shadow in the place of the records: until then readers see the old ones, and
after it what the source has. Of an id that somebody else wrote meanwhile the later write stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from perdure.db.pool import DbConnection, Pool, borrowed
from perdure.db.record_batches import RecordSet
from perdure.db.record_changes import announce
from perdure.db.syncs import Sync
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import BASE_VARIANT, ConnectionKey, shadow_variant

__all__ = ["Begun", "Kept", "Restart", "ResyncStore", "Swapped"]

Restart: TypeAlias = Literal["reset", "empty_cache"]
"""What a run does first: forget where the sync stands, or also build its records anew."""

_SWAP_TIMEOUT = 3600.0

# Who asks for less does not take back what somebody else asked for.
_REQUEST = """
UPDATE syncs
   SET restart = CASE WHEN restart = 'empty_cache' THEN restart ELSE $4 END
 WHERE connection_key = $1 AND name = $2 AND variant = $3
RETURNING id
"""

_LOCK = """
SELECT name, restart, last_sync_date, begun_run_id, rebuild_after
  FROM syncs
 WHERE id = $1
   FOR UPDATE
"""

# Once everybody who writes has had his turn, no earlier place can appear below this one.
_TURNS = """
SELECT pg_advisory_xact_lock(
           hashtextextended(format('records/%s/%s/%s', $1::bigint, model, variant), 0))
  FROM (SELECT model, variant
          FROM unnest($2::text[]) AS model, unnest($3::text[]) AS variant
         ORDER BY model, variant) AS sets
"""

_TAKE = """
UPDATE syncs
   SET restart = NULL,
       -- Of a model that it did not save before, a sync is to fetch everything.
       last_sync_date = CASE
           WHEN restart IS NULL AND (synced_models IS NULL OR $3::text[] <@ synced_models)
           THEN last_sync_date
       END,
       begun_run_id = $2,
       rebuild_after = CASE WHEN restart = 'empty_cache' THEN nextval('record_changes') END
 WHERE id = $1
RETURNING last_sync_date
"""

_HAS_SHADOW = """
SELECT EXISTS (
    SELECT FROM unnest($2::text[]) AS wanted (model), LATERAL (
        SELECT FROM records
         WHERE connection_key = $1 AND records.model = wanted.model AND variant = $3
         LIMIT 1) AS found)
"""

# The connection first: its deletion takes the same rows in another order.
_DROP_SHADOW = """
WITH held AS MATERIALIZED (
    SELECT id FROM connections WHERE id = $1 FOR KEY SHARE
), dropped AS (
    DELETE FROM records
     WHERE ctid = ANY (ARRAY(
         SELECT r.ctid FROM held, records r
          WHERE r.connection_key = $1 AND r.model = ANY ($2::text[]) AND r.variant = $3
            AND r.last_run_id IS DISTINCT FROM $4
          LIMIT $5))
    RETURNING model, deleted_at
), counted AS (
    UPDATE record_counts c
       SET live = c.live - d.live
      FROM (SELECT model, count(*) AS live FROM dropped WHERE deleted_at IS NULL GROUP BY model) d
     WHERE c.connection_key = $1 AND c.model = d.model AND c.variant = $3
)
SELECT count(*) FROM dropped
"""

# Of sets that have just been written statistics know nothing: Postgres takes them for a few rows
# and would go through one of them again and again for each record of the other.
_JOIN_LARGE_SETS = "SELECT set_config('enable_nestloop', 'off', true)"

# Where the run has built nothing, what was there when it began waits for somebody's word.
_HOLD_BACK = """
INSERT INTO delete_tracks (
    connection_key, sync, model, variant, run_id, after_seq, held_at, held_by, live, absent
)
SELECT $1, $5, $2, $3, $6, $7, clock_timestamp(), $6, found.live, found.absent
  FROM (SELECT count(*) AS live, count(*) FILTER (WHERE change_seq <= $7) AS absent
          FROM records
         WHERE connection_key = $1 AND model = $2 AND variant = $3 AND deleted_at IS NULL) found
 WHERE found.absent > 0
   AND NOT EXISTS (
       SELECT FROM records WHERE connection_key = $1 AND model = $2 AND variant = $4)
RETURNING live, absent
"""

# What was there when the run began and is not there any more, and what the run deleted itself.
_MARK_ABSENT = """
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), gone AS (
    SELECT old.external_id
      FROM records old
      LEFT JOIN records new
        ON new.connection_key = $1 AND new.model = $2 AND new.variant = $4
       AND new.external_id = old.external_id
     WHERE old.connection_key = $1 AND old.model = $2 AND old.variant = $3
       AND old.deleted_at IS NULL
       AND CASE
           WHEN new.external_id IS NULL THEN old.change_seq <= $5
           ELSE new.deleted_at IS NOT NULL AND new.change_seq > old.change_seq
       END
)
UPDATE records AS old
   SET last_modified_at = greatest(moment.at, old.last_modified_at + interval '1 us'),
       deleted_at = greatest(moment.at, old.last_modified_at + interval '1 us'),
       change_seq = nextval('record_changes'),
       last_run_id = $6
  FROM moment, gone
 WHERE old.connection_key = $1 AND old.model = $2 AND old.variant = $3
   AND old.external_id = gone.external_id
"""

# A record that the run deleted has its last payload where it was before.
_DROP_EARLIER = """
DELETE FROM records new
 USING records old
 WHERE new.connection_key = $1 AND new.model = $2 AND new.variant = $4
   AND old.connection_key = $1 AND old.model = $2 AND old.variant = $3
   AND old.external_id = new.external_id
   AND (old.change_seq > new.change_seq OR new.deleted_at IS NOT NULL)
"""

_DROP_REPLACED = """
DELETE FROM records old
 USING records new
 WHERE new.connection_key = $1 AND new.model = $2 AND new.variant = $4
   AND old.connection_key = $1 AND old.model = $2 AND old.variant = $3
   AND old.external_id = new.external_id
"""

# Moved, not copied: payloads that Postgres keeps aside stay where they are.
_MOVE = """
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), placed AS MATERIALIZED (
    SELECT external_id, nextval('record_changes') AS place
      FROM (SELECT external_id
              FROM records
             WHERE connection_key = $1 AND model = $2 AND variant = $4
             ORDER BY change_seq) AS in_order
)
UPDATE records AS new
   SET variant = $3,
       first_seen_at = moment.at,
       last_modified_at = moment.at,
       deleted_at = CASE WHEN new.deleted_at IS NOT NULL THEN moment.at END,
       change_seq = placed.place
  FROM moment, placed
 WHERE new.connection_key = $1 AND new.model = $2 AND new.variant = $4
   AND new.external_id = placed.external_id
"""

_COUNT_ANEW = """
INSERT INTO record_counts (connection_key, model, variant, live)
SELECT $1, $2, sets.variant, (
           SELECT count(*)
             FROM records r
            WHERE r.connection_key = $1 AND r.model = $2 AND r.variant = sets.variant
              AND r.deleted_at IS NULL)
  FROM unnest(ARRAY[$3, $4]::text[]) AS sets (variant)
ON CONFLICT (connection_key, model, variant) DO UPDATE SET live = excluded.live
"""

_SWAPPED = "UPDATE syncs SET rebuild_after = NULL WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Begun:
    """How a run begins.

    Attributes:
        last_sync_date: Start of the last successful run, None before the first or after a reset.
        restart: What was asked of this run.
        leftovers: Whether an earlier run left records that it did not come to show.
    """

    last_sync_date: datetime | None
    restart: Restart | None
    leftovers: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """Records that stay until somebody confirms that they are to go.

    Attributes:
        live: How many records there are.
        absent: How many of them would have been deleted.
    """

    live: int
    absent: int


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a swap did, by model.

    Attributes:
        deleted: How many records were marked as deleted.
        kept: Of models of which the run saw nothing at all: what was left.
    """

    deleted: dict[str, int]
    kept: dict[str, Kept]


class ResyncStore:
    """Notes resets and carries them out."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def request(
        self,
        connection_key: ConnectionKey,
        name: str,
        restart: Restart,
        variant: str = BASE_VARIANT,
    ) -> None:
        """Have the next run of a sync start over.

        Raises:
            NotFoundError: `unknown_sync`.
        """
        async with borrowed(self._pool) as conn:
            found = await conn.fetchval(_REQUEST, connection_key, name, variant, restart)
        if found is None:
            msg = f"The connection has no sync {name!r} in the variant {variant!r}."
            raise NotFoundError(msg, code="unknown_sync")

    async def begin(
        self,
        sync: Sync,
        run_id: str,
        *,
        models: Sequence[str],
        conn: DbConnection,
    ) -> Begun:
        """Take what was asked of the next run, or tell again what was taken.

        Args:
            sync: Which sync.
            run_id: The run that begins.
            models: Models that it saves.
            conn: Connection of the transaction.

        Raises:
            NotFoundError: `unknown_sync`, it was deleted meanwhile.
        """
        row = await conn.fetchrow(_LOCK, sync.id)
        if row is None:
            msg = "The sync was deleted while its run began."
            raise NotFoundError(msg, code="unknown_sync")
        last_sync_date = row["last_sync_date"]
        restart: Restart | None = "empty_cache" if row["rebuild_after"] is not None else None
        if row["begun_run_id"] != run_id:
            restart = row["restart"]
            if restart == "empty_cache":
                await conn.execute(_TURNS, sync.connection_key, models, [sync.variant])
            last_sync_date = await conn.fetchval(_TAKE, sync.id, run_id, models)
        leftovers = await conn.fetchval(
            _HAS_SHADOW, sync.connection_key, models, shadow_variant(sync.variant)
        )
        return Begun(last_sync_date, restart, leftovers)

    async def drop_leftovers(
        self,
        connection_key: ConnectionKey,
        models: Sequence[str],
        variant: str,
        *,
        run_id: str,
        limit: int,
    ) -> int:
        """Remove records that an earlier run built and never came to show.

        Args:
            connection_key: Whose records.
            models: Models that the sync saves.
            variant: Variant of the sync.
            run_id: The run that has begun; what it wrote stays.
            limit: Most records to remove in this one statement.

        Returns:
            How many were removed: fewer than `limit` when none is left.
        """
        async with borrowed(self._pool) as conn:
            dropped: int = await conn.fetchval(
                _DROP_SHADOW, connection_key, models, shadow_variant(variant), run_id, limit
            )
        return dropped

    async def swap(
        self,
        sync_id: UUID,
        run_id: str,
        *,
        connection_key: ConnectionKey,
        variant: str,
        models: Sequence[str],
        guarded: bool,
        conn: DbConnection,
    ) -> Swapped:
        """Put what a run has built in the place of the records that readers see.

        Every record the run saved stands in the stream as added; what was there before and is not
        there any more stands in it as deleted. Done again, it does nothing.

        A run that saw nothing at all of a model leaves its records as they are, and a delete track
        that is held back (`perdure.db.delete_tracks`).

        Args:
            sync_id: Which sync.
            run_id: The run that has built them.
            connection_key: Whose records.
            variant: Variant of the sync.
            models: Models that the sync saves.
            guarded: Whether all records of a model may go only when somebody confirms it.
            conn: Connection of the transaction; writers of these records wait until it ends.

        Raises:
            ConflictError: `rebuild_replaced`, another run has begun since.
        """
        row = await conn.fetchrow(_LOCK, sync_id)
        if row is None or row["begun_run_id"] != run_id:
            msg = (
                "Another run of this sync has begun since and dropped what this one had built; the "
                "records are as they were. Trigger the sync with emptyCache again."
            )
            raise ConflictError(msg, code="rebuild_replaced")
        if row["rebuild_after"] is None:
            return Swapped({}, {})
        shadow = shadow_variant(variant)
        await conn.execute(_TURNS, connection_key, models, [variant, shadow])
        await conn.execute(_JOIN_LARGE_SETS)
        deleted: dict[str, int] = {}
        kept: dict[str, Kept] = {}
        for model in models:
            sets, place = (connection_key, model, variant, shadow), row["rebuild_after"]
            held = None
            if guarded:
                held = await conn.fetchrow(
                    _HOLD_BACK, *sets, row["name"], run_id, place, timeout=_SWAP_TIMEOUT
                )
            if held is not None:
                kept[model], place = Kept(held["live"], held["absent"]), 0
            tag = await conn.execute(_MARK_ABSENT, *sets, place, run_id, timeout=_SWAP_TIMEOUT)
            deleted[model] = int(tag.removeprefix("UPDATE "))
            for statement in (_DROP_EARLIER, _DROP_REPLACED, _MOVE, _COUNT_ANEW):
                await conn.execute(statement, *sets, timeout=_SWAP_TIMEOUT)
            await announce(conn, RecordSet(connection_key, model, variant))
        await conn.execute(_SWAPPED, sync_id)
        return Swapped(deleted, kept)
