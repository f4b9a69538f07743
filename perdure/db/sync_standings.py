"""What our own tables tell of many syncs at once, each table asked once for all of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perdure.db.checkpoints import CheckpointValue, checkpoint_key
from perdure.db.delete_tracks import DeleteTrack, track_of
from perdure.db.pool import Pool, borrowed
from perdure.db.run_rows import Run, run_of
from perdure.db.syncs import Sync

__all__ = ["SyncStanding", "SyncStandingStore"]

_LATEST = """
SELECT wanted.number, id, workflow_id, environment_id, kind, integration, connection_id,
       last.connection_key, script, last.variant, bundle_hash, status, started_at, finished_at,
       counts, error, coalesce(temporal_run_id, id) AS temporal_run_id, checkpoints, dry_run
  FROM unnest($1::bigint[], $2::text[], $3::text[])
       WITH ORDINALITY AS wanted (connection_key, sync, variant, number)
 CROSS JOIN LATERAL last_run_of_sync(wanted.connection_key, wanted.sync, wanted.variant) last
"""

_CHECKPOINTS = """
SELECT wanted.number, c.value
  FROM unnest($1::bigint[], $2::text[])
       WITH ORDINALITY AS wanted (connection_key, key, number)
  JOIN checkpoints c ON c.connection_key = wanted.connection_key AND c.key = wanted.key
 WHERE c.value IS NOT NULL
"""

_HELD = """
SELECT id, connection_key, model, variant, sync, run_id, after_seq, held_at, held_by, live, absent
  FROM delete_tracks
 WHERE connection_key = ANY ($1::bigint[]) AND held_at IS NOT NULL
 ORDER BY model, id
"""

_COUNTS = """
SELECT connection_key, model, variant, live
  FROM record_counts
 WHERE connection_key = ANY ($1::bigint[])
"""


@dataclass(frozen=True, slots=True)
class SyncStanding:
    """How a sync stands.

    Attributes:
        latest: Its newest run, None before the first.
        checkpoint: Where its next run goes on from, None where it begins at the beginning.
        held: Its deletions that are held back, by model.
        counts: How many records its connection has, by model; models of other syncs among them.
    """

    latest: Run | None
    checkpoint: CheckpointValue | None
    held: Sequence[DeleteTrack]
    counts: Mapping[str, int]


class SyncStandingStore:
    """Tells how syncs stand.

    Args:
        pool: See `perdure.db.pool.create_pool`.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def of(self, syncs: Sequence[Sync]) -> list[SyncStanding]:
        """Return how syncs stand, in the same order.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        keys = [sync.connection_key for sync in syncs]
        names = [sync.name for sync in syncs]
        variants = [sync.variant for sync in syncs]
        places = [checkpoint_key("sync", sync.name, sync.variant) for sync in syncs]
        async with borrowed(self._pool) as conn:
            runs = await conn.fetch(_LATEST, keys, names, variants)
            checkpoints = await conn.fetch(_CHECKPOINTS, keys, places)
            tracks = await conn.fetch(_HELD, list(set(keys)))
            counts = await conn.fetch(_COUNTS, list(set(keys)))
        latest = {row["number"]: run_of(row) for row in runs}
        values = {row["number"]: json.loads(row["value"]) for row in checkpoints}
        held: defaultdict[tuple[int, str, str], list[DeleteTrack]] = defaultdict(list)
        for row in tracks:
            held[row["connection_key"], row["sync"], row["variant"]].append(track_of(row))
        live: defaultdict[tuple[int, str], dict[str, int]] = defaultdict(dict)
        for row in counts:
            live[row["connection_key"], row["variant"]][row["model"]] = row["live"]
        return [
            SyncStanding(
                latest=latest.get(number),
                checkpoint=values.get(number),
                held=held[sync.connection_key, sync.name, sync.variant],
                counts=live[sync.connection_key, sync.variant],
            )
            for number, sync in enumerate(syncs, start=1)
        ]
