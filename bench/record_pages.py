"""Reads a set of records page by page over HTTP and by the raw query, in turns.

Nobody else measures them. Over HTTP a page is what a client gets before it decodes anything: the
bytes of an answer. The raw query gives rows as asyncpg makes them, payloads as the bytes they are.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import asyncpg
import uvloop

from perdure.app.memory import keep_what_is_freed

__all__: list[str] = []

_WARM_UP = 5
_MODEL = "GithubIssue"

# Without `change_seq > 0` Postgres does not go by the index of the stream.
_PAGE = """
SELECT payload, first_seen_at, last_modified_at, deleted_at, pruned_at, change_seq
  FROM public.records
 WHERE connection_key = (SELECT id FROM public.connections WHERE connection_id = $1)
   AND model = $2 AND variant = 'base' AND change_seq > 0 AND change_seq > $3
 ORDER BY change_seq
 LIMIT $4
"""
_MOST_BYTES = 16 * 1024 * 1024
# Bytes that hold the cursor, at the beginning of the body.
_BEGINNING = 200
_NEXT_CURSOR = b'"next_cursor":'

Ask = Callable[[], Awaitable[object]]


class _OverHttp:
    """Follows the stream by the cursors of its pages.

    By a client that costs next to nothing: it waits for the answer and reads it into memory that it
    has.
    """

    def __init__(self, api_url: str, connection_id: str, limit: int) -> None:
        self._http = HTTPConnection(urlsplit(api_url).netloc, timeout=60)
        self._headers = {
            "Authorization": f"Bearer {os.environ['BENCH_SECRET_KEY']}",
            "Connection-Id": connection_id,
            "Provider-Config-Key": "github",
        }
        self._params = {"model": _MODEL, "limit": str(limit)}
        self._cursor: str | None = None
        self._buffer = bytearray(_MOST_BYTES)

    async def ask(self) -> None:
        params = self._params if self._cursor is None else {**self._params, "cursor": self._cursor}
        self._http.request("GET", f"/records?{urlencode(params)}", headers=self._headers)
        answer = self._http.getresponse()
        assert answer.status == 200, answer.read()
        view, size = memoryview(self._buffer), 0
        while read := answer.readinto(view[size:]):
            size += read
        assert size == int(answer.headers["content-length"])
        body = bytes(view[:_BEGINNING])
        told = body[body.index(_NEXT_CURSOR) + len(_NEXT_CURSOR) :].split(b",", 1)[0]
        self._cursor = json.loads(told)

    def close(self) -> None:
        self._http.close()


class _Raw:
    """Follows the stream by the places of its records."""

    def __init__(self, db: asyncpg.Connection[Any], connection_id: str, limit: int) -> None:
        self._db = db
        self._connection_id = connection_id
        self._limit = limit
        self._place = 0

    async def ask(self) -> None:
        rows = await self._db.fetch(_PAGE, self._connection_id, _MODEL, self._place, self._limit)
        self._place = rows[-1]["change_seq"] if len(rows) == self._limit else 0


async def _milliseconds(ask: Ask) -> float:
    began = time.perf_counter()
    await ask()
    return (time.perf_counter() - began) * 1000


async def _in_turns(http: Ask, raw: Ask, turns: int) -> dict[str, list[float]]:
    for _ in range(_WARM_UP):
        await http()
        await raw()
    took: dict[str, list[float]] = {"http": [], "raw": []}
    for turn in range(turns):
        order = (("http", http), ("raw", raw))
        for name, ask in order if turn % 2 else reversed(order):
            took[name].append(await _milliseconds(ask))
    return took


async def _main(api_url: str, connection_id: str, limit: int, turns: int) -> None:
    db: asyncpg.Connection[Any] = await asyncpg.connect(os.environ["BENCH_DATABASE_URL"])
    await db.set_builtin_type_codec(
        "json", schema="pg_catalog", codec_name="bytea", format="binary"
    )
    over_http, raw = _OverHttp(api_url, connection_id, limit), _Raw(db, connection_id, limit)
    print(json.dumps(await _in_turns(over_http.ask, raw.ask, turns)))
    over_http.close()
    await db.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--connection-id", required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--turns", type=int, required=True)
    told = parser.parse_args()
    # Rows go where those before them were: what taking memory anew costs is nobody's to bear here.
    keep_what_is_freed()
    uvloop.run(_main(told.api_url, told.connection_id, told.limit, told.turns))
