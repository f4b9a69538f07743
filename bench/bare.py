"""The bare loop: httpx and asyncpg, a page after the other, as one would write it by hand.

It maps with the engine's function, hashes the same form and writes the engine's rows into a table
of the same shape by the same kind of statement. What it lacks is everything else: a cursor, counts,
a log, checks against a model, the right to be killed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import time
from typing import Any

import asyncpg
import httpx
import orjson
import uvloop

from bench.project.shared.github_objects import to_issue

__all__ = ["BARE_TABLE"]

# Made anew for each measurement run, so it has the columns and indexes that the engine's has now.
BARE_TABLE = """
CREATE SCHEMA IF NOT EXISTS bench;
DROP TABLE IF EXISTS bench.records;
CREATE TABLE bench.records (LIKE public.records INCLUDING ALL);
CREATE SEQUENCE IF NOT EXISTS bench.record_changes CACHE 1;
"""

_SAVE = """
INSERT INTO bench.records AS r (
    connection_key, model, variant, external_id, payload, payload_hash,
    first_seen_at, last_modified_at, change_seq
)
SELECT $1, 'GithubIssue', 'base', u.id, u.payload, u.hash,
       now(), now(), nextval('bench.record_changes')
  FROM unnest($2::text[], $3::json[], $4::bytea[]) AS u (id, payload, hash)
ON CONFLICT (connection_key, model, variant, external_id) DO UPDATE
   SET payload = excluded.payload,
       payload_hash = excluded.payload_hash,
       last_modified_at = excluded.last_modified_at,
       change_seq = excluded.change_seq
 WHERE r.payload_hash <> excluded.payload_hash
"""


async def _save(db: asyncpg.Connection[Any], key: int, records: list[dict[str, Any]]) -> None:
    hashes = [
        hashlib.blake2b(orjson.dumps(record, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
        for record in records
    ]
    ids = [record["id"] for record in records]
    await db.execute(_SAVE, key, ids, [orjson.dumps(record) for record in records], hashes)


async def _connect(database_url: str) -> asyncpg.Connection[Any]:
    db: asyncpg.Connection[Any] = await asyncpg.connect(database_url)
    await db.set_builtin_type_codec(
        "json", schema="pg_catalog", codec_name="bytea", format="binary"
    )
    return db


async def _loop(url: str, database_url: str, key: int, limit: int, total: int) -> dict[str, float]:
    db = await _connect(database_url)
    async with httpx.AsyncClient(base_url=url) as http:
        cpu, began = time.process_time(), time.perf_counter()
        params: dict[str, Any] = {"limit": limit, "total": total}
        pages = 0
        while True:
            answer = await http.get("/issues", params=params)
            answer.raise_for_status()
            body = orjson.loads(answer.content)
            await _save(db, key, [to_issue(raw) for raw in body["items"]])
            pages += 1
            if body["next"] is None:
                break
            params["cursor"] = body["next"]
        seconds = time.perf_counter() - began
        used = time.process_time() - cpu
    await db.close()
    return {"seconds": seconds, "client_cpu_s": used, "pages": pages}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", type=int, required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--total", type=int, required=True)
    parser.add_argument("--plain-loop", action="store_true")
    told = parser.parse_args()
    work = _loop(told.url, os.environ["BENCH_DATABASE_URL"], told.key, told.limit, told.total)
    print(json.dumps(asyncio.run(work) if told.plain_loop else uvloop.run(work)))
