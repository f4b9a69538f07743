"""Many syncs at once on one worker: `python -m bench.at_once`.

Connections that read the same number of records each, and one that reads fifty times as many, are
all triggered together. None may wait for the big one to be done, and the worker's memory may not
grow with their number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.engine import Engine, running_engine
from bench.programs import running
from bench.usage import watched_memory
from perdure.clock import utcnow

__all__: list[str] = []

_SYNCS = {"save": "issues-save", "loop": "issues-loop"}
_BIG = "big"
_TIMES = 50
_PAGE = 100
_LOOK_EVERY = 0.5

_ENDED = """
SELECT c.connection_id, r.status, r.finished_at
  FROM public.runs r JOIN public.connections c ON c.id = r.connection_key
 WHERE r.kind = 'sync' AND r.script = $1 AND r.finished_at IS NOT NULL
"""


async def _measure(
    engine: Engine, url: str, sync: str, connections: int, records: int
) -> dict[str, Any]:
    names = [_BIG, *(f"small-{number:03}" for number in range(connections))]
    for name in names:
        total = records * _TIMES if name == _BIG else records
        await engine.connect(f"{sync}-{name}", url, limit=_PAGE, total=total)
    before = engine.cpu()
    async with watched_memory(engine.dev.pids.worker) as memory:
        began = utcnow()
        # The big one first: where turns are taken the others pass all the same.
        await asyncio.gather(*(engine.trigger(sync, f"{sync}-{name}") for name in names))
        rows: list[Any] = []
        while len(rows) < len(names):
            await asyncio.sleep(_LOOK_EVERY)
            rows = await engine.db.fetch(_ENDED, sync)
    assert all(row["status"] == "success" for row in rows), rows
    ended = {row["connection_id"]: _seconds(began, row["finished_at"]) for row in rows}
    for name in names:
        count, _ = await engine.digest(f"{sync}-{name}")
        assert count == (records * _TIMES if name == _BIG else records), (name, count)
    small = sorted(seconds for name, seconds in ended.items() if not name.endswith(_BIG))
    used = {name: round(value - before[name], 1) for name, value in engine.cpu().items()}
    return {
        "sync": sync,
        "small_ones": len(small),
        "records_each": records,
        "records_of_the_big_one": records * _TIMES,
        "first_small_s": round(small[0], 1),
        "median_small_s": round(small[len(small) // 2], 1),
        "last_small_s": round(small[-1], 1),
        "big_s": round(ended[f"{sync}-{_BIG}"], 1),
        "peak_rss_mb": round(memory.peak),
        "cpu_s": used,
    }


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()


async def _main(connections: int, records: int, forms: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        async with running_engine(Path(folder)) as engine, running("bench.fake_api") as (url, _):
            for form in forms:
                found = await _measure(engine, url, _SYNCS[form], connections, records)
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--forms", nargs="+", choices=_SYNCS, default=list(_SYNCS))
    told = parser.parse_args()
    asyncio.run(_main(told.connections, told.records, told.forms))
