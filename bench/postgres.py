"""`make bench-postgres`: what statements cost where ten million records are, as JSON.

It takes some twenty minutes and 25 GB of disk, most of both for filling; `--rows` makes it smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from bench.postgres_batches import measure_batches
from bench.postgres_fill import MODEL, Fill, fill
from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.database import Database
from perdure.db.migrate import migrate
from perdure.db.records import RecordFilter, RecordSet
from perdure.embedded import embedded_postgres
from perdure.ids import ConnectionKey
from perdure.records.cursor import encode_cursor

_PAGE = 1_000
_REPEATS = 15

_PLACES = """
SELECT min(change_seq), max(change_seq) FROM records WHERE connection_key = $1 AND model = $2
"""

_SIZES = """
SELECT relname, pg_relation_size(oid) / 1048576 AS mebibytes
  FROM pg_class
 WHERE oid = 'records'::regclass
    OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'records'::regclass)
"""


async def main(folder: Path, wanted: Fill) -> dict[str, Any]:
    """Fill a cluster in a folder, measure, and return what was found."""
    async with embedded_postgres(folder) as url:
        await migrate(url)
        conn = await asyncpg.connect(url)
        keys = await fill(conn, wanted, "bench")
        await conn.close()
    # Measured as it runs in production: with commits that survive a crash.
    async with (
        embedded_postgres(folder, durable=True) as url,
        Database.open(url, keyring=KeyRing.parse(new_key())) as db,
    ):
        sizes = await db.pool.fetch(_SIZES)
        return {
            "records": wanted.rows(),
            "sizes_mib": {row["relname"]: row["mebibytes"] for row in sizes},
            "pages": await _pages(db, keys[0]),
            "batches": await measure_batches(db, keys[1:], rows=min(wanted.small, 5_000)),
        }


async def _pages(db: Database, key: int) -> list[dict[str, Any]]:
    """Return how long pages of the large set take, by how much lies before them."""
    target = RecordSet(ConnectionKey(key), MODEL)
    first, last = await db.pool.fetchrow(_PLACES, key, MODEL) or (0, 0)
    found = []
    for depth in (0.0, 0.25, 0.5, 0.75, 0.99):
        cursor = encode_cursor(int(first + (last - first) * depth))
        seconds = await _median(db, target, after_cursor=cursor, limit=_PAGE)
        found.append({"depth": depth, "page": _PAGE, "milliseconds": seconds})
    deleted = await _median(db, target, filters=[RecordFilter.DELETED], limit=_PAGE)
    return [*found, {"filter": "deleted", "page": _PAGE, "milliseconds": deleted}]


async def _median(db: Database, target: RecordSet, **query: Any) -> float:
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        await db.records.list(target, **query)
        times.append(time.perf_counter() - began)
    return round(median(times) * 1e3, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="about how many records")
    arguments = parser.parse_args()
    large = arguments.rows * 3 // 10 // 100 * 100
    connections = max(20, arguments.rows // 10_000)
    small = max(100, (arguments.rows - large) // (connections - 1) // 100 * 100)
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as name:
        wanted = Fill(connections=connections, small=small, large=large)
        print(json.dumps(asyncio.run(main(Path(name), wanted)), indent=2))
