"""What a batch costs: our statement, the one a bare loop would have, and COPY with a merge."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from bench.postgres_fill import MODEL, batch
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.record_batches import RecordSet
from perdure.ids import ConnectionKey
from perdure.records.prepare import PreparedBatch

__all__ = ["measure_batches"]

Save: TypeAlias = Callable[[DbConnection, RecordSet, PreparedBatch], Awaitable[None]]

# The guard alone, as a loop by hand has it: neither turns nor notes, nor what changed since when.
_UNNEST = """
INSERT INTO records AS r (connection_key, model, variant, external_id, payload, payload_hash,
                          first_seen_at, last_modified_at, change_seq)
SELECT $1, $2, $3, id, payload, hash, now(), now(), nextval('record_changes')
  FROM unnest($4::text[], $5::json[], $6::bytea[]) AS u (id, payload, hash)
ON CONFLICT (connection_key, model, variant, external_id) DO UPDATE
   SET payload = excluded.payload, payload_hash = excluded.payload_hash,
       last_modified_at = excluded.last_modified_at, change_seq = excluded.change_seq
 WHERE r.payload_hash <> excluded.payload_hash
RETURNING external_id, first_seen_at = last_modified_at
"""

_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS stage (id text, payload bytea, hash bytea) ON COMMIT DELETE ROWS
"""

_MERGE = """
INSERT INTO records AS r (connection_key, model, variant, external_id, payload, payload_hash,
                          first_seen_at, last_modified_at, change_seq)
SELECT $1, $2, $3, s.id, convert_from(s.payload, 'UTF8')::json, s.hash, now(), now(),
       nextval('record_changes')
  FROM stage s LEFT JOIN LATERAL (
      SELECT payload_hash FROM records
       WHERE connection_key = $1 AND model = $2 AND variant = $3 AND external_id = s.id
      OFFSET 0) AS old ON true
 WHERE old.payload_hash IS NULL OR old.payload_hash <> s.hash
ON CONFLICT (connection_key, model, variant, external_id) DO UPDATE
   SET payload = excluded.payload, payload_hash = excluded.payload_hash,
       last_modified_at = excluded.last_modified_at, change_seq = excluded.change_seq
RETURNING external_id, first_seen_at = last_modified_at
"""

_TICKS = os.sysconf("SC_CLK_TCK")


async def measure_batches(
    db: Database,
    keys: Sequence[int],
    *,
    rows: int,
    sizes: Sequence[int] = (100, 500, 1_000, 5_000),
    rounds: int = 3,
) -> list[dict[str, Any]]:
    """Write batches in every way and return what they cost, medians over the rounds.

    Args:
        db: The database; of each connection at least `rows` records are there.
        keys: Connections; each cell takes ones that were not touched before, while there are some.
        rows: Records of a cell.
        sizes: Records of a batch.
        rounds: How often everything is done, one after the other.
    """
    ways: dict[str, Save] = {
        "ours": lambda conn, target, prepared: _ours(db, conn, target, prepared),
        "unnest": _unnest,
        "copy": _copy,
    }
    chance = random.Random(1)
    untouched = list(keys)
    chance.shuffle(untouched)
    cells: dict[tuple[str, int, str], list[dict[str, float]]] = {}
    async with db.pool.acquire() as conn:
        await conn.execute(_STAGE)
        for round_ in range(rounds):
            for size in sizes:
                for kind in ("first", "0%", "1%", "10%", "100%"):
                    order = list(ways)
                    chance.shuffle(order)
                    for way in order:
                        key = ConnectionKey(untouched.pop() if untouched else chance.choice(keys))
                        target = RecordSet(
                            key, f"New{round_}{way}{size}" if kind == "first" else MODEL
                        )
                        batches = _batches(rows, size, kind, round_ + 1)
                        await ways[way](
                            conn, RecordSet(key, f"Warm{way}"), batch(range(5), [0] * 5)
                        )
                        found = await _cost(conn, ways[way], target, batches)
                        cells.setdefault((way, size, kind), []).append(found)
        await conn.execute("DROP TABLE stage")
    return [
        {"way": way, "batch": size, "changed": kind, "records": rows}
        | {name: round(median(cost[name] for cost in costs), 2) for name in costs[0]}
        for (way, size, kind), costs in sorted(cells.items(), key=str)
    ]


def _batches(rows: int, size: int, kind: str, revision: int) -> list[PreparedBatch]:
    share = 0 if kind == "first" else int(kind.removesuffix("%"))
    every = 100 // share if share else 0
    numbers = range(rows)
    revisions = [revision if every and number % every == 0 else 0 for number in numbers]
    return [
        batch(numbers[start : start + size], revisions[start : start + size])
        for start in range(0, rows, size)
    ]


async def _cost(
    conn: DbConnection, save: Save, target: RecordSet, batches: Sequence[PreparedBatch]
) -> dict[str, float]:
    """Return microseconds and bytes of WAL for a record."""
    rows = sum(len(prepared) for prepared in batches)
    pid = await conn.fetchval("SELECT pg_backend_pid()")
    wal = await conn.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'")
    own, server, wall = time.process_time(), _cpu(pid), time.perf_counter()
    for prepared in batches:
        await save(conn, target, prepared)
    wall, own, server = time.perf_counter() - wall, time.process_time() - own, _cpu(pid) - server
    wal = await conn.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'") - wal
    return {
        "wall_us": wall / rows * 1e6,
        "postgres_cpu_us": server / rows * 1e6,
        "client_cpu_us": own / rows * 1e6,
        "wal_bytes": float(wal) / rows,
    }


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _ours(
    db: Database, conn: DbConnection, target: RecordSet, prepared: PreparedBatch
) -> None:
    async with conn.transaction():
        await db.records.save(target, prepared, conn=conn)


async def _unnest(conn: DbConnection, target: RecordSet, prepared: PreparedBatch) -> None:
    await conn.fetch(
        _UNNEST,
        *(target.connection_key, target.model, target.variant),
        *(prepared.ids, prepared.payloads, prepared.hashes),
    )


async def _copy(conn: DbConnection, target: RecordSet, prepared: PreparedBatch) -> None:
    async with conn.transaction():
        records = zip(prepared.ids, prepared.payloads, prepared.hashes, strict=True)
        await conn.copy_records_to_table("stage", records=records)
        await conn.fetch(_MERGE, target.connection_key, target.model, target.variant)
