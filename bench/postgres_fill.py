"""Fills the real schema with records, fast, and makes batches of the same records.

The rows are written by Postgres itself, with triggers and foreign keys unchecked, since ten million
of them through `RecordWriter` would take an hour. They are what the write path would have left: the
same columns, places of the stream in the order of the rows, counts that agree. Only the hash is
another one (MD5, which Postgres has built in); no statement looks into it. Pages of the connections
follow each other in the table as they do where many syncs run at once.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

import asyncpg

from perdure.records.prepare import PreparedBatch

__all__ = ["MODEL", "SYNC", "Fill", "batch", "fill", "record_id"]

MODEL = "GithubIssue"
SYNC = "issues"

_PAGE = 100

# Of about 1.4 KB, as an issue of GitHub's API is; `batch` writes the same.
_INSERT = """
INSERT INTO records (connection_key, model, variant, external_id, payload, payload_hash,
                     first_seen_at, last_modified_at, change_seq, last_run_id)
SELECT key, $3, 'base', id, payload::json, decode(md5(payload), 'hex'),
       now(), now(), nextval('record_changes'), 'run-of-the-fill'
  FROM unnest($1::bigint[], $2::bigint[]) AS c (key, rows),
       LATERAL generate_series($4::bigint * rows, ($4::bigint + 1) * rows - 1) AS n,
       LATERAL (SELECT substr(md5(n::text), 1, 20) AS id) AS named,
       LATERAL (SELECT format(
           '{"id":"%s","number":%s,"title":"Issue %s","state":"open","revision":0,"body":"%s"}',
           id, n, n, repeat(md5(n::text), 41)) AS payload) AS written
"""

_SETUP = """
WITH environment AS (
    INSERT INTO environments (name, secret_key_hash) VALUES ('bench', sha256($1)) RETURNING id
), integration AS (
    INSERT INTO integrations (environment_id, unique_key, provider, display_name)
    SELECT id, 'github', 'github', 'GitHub' FROM environment
    RETURNING id, environment_id
), made AS (
    INSERT INTO connections (environment_id, integration_id, connection_id, credentials)
    SELECT i.environment_id, i.id, 'customer-' || n, ''
      FROM integration i, generate_series(1, $2::int) AS n
    RETURNING id
), synced AS (
    INSERT INTO syncs (connection_key, name) SELECT id, $3 FROM made
)
SELECT id FROM made ORDER BY id
"""

_COUNT = """
INSERT INTO record_counts (connection_key, model, variant, live)
SELECT key, $3, 'base', rows FROM unnest($1::bigint[], $2::bigint[]) AS c (key, rows)
"""


@dataclass(frozen=True, slots=True)
class Fill:
    """How much there is to be.

    Attributes:
        connections: How many connections.
        small: Records of each of them but the first, a multiple of 100.
        large: Records of the first.
    """

    connections: int = 1_000
    small: int = 7_000
    large: int = 3_000_000

    def rows(self) -> int:
        """Return how many records that is."""
        return self.large + self.small * (self.connections - 1)


async def fill(conn: asyncpg.Connection[asyncpg.Record], wanted: Fill, secret: str) -> list[int]:
    """Fill an empty, migrated database and return the keys of the connections; the first is large.

    Args:
        conn: As a superuser.
        wanted: How much.
        secret: Key of the environment that the records belong to.
    """
    keys = [
        row["id"] for row in await conn.fetch(_SETUP, secret.encode(), wanted.connections, SYNC)
    ]
    turns = wanted.small // _PAGE
    rows = [wanted.large // turns] + [_PAGE] * (len(keys) - 1)
    await conn.execute("SET session_replication_role = replica")
    start = time.monotonic()
    for turn in range(turns):
        await conn.execute(_INSERT, keys, rows, MODEL, turn)
        print(
            f"filled {(turn + 1) * sum(rows):,} rows in {time.monotonic() - start:.0f} s",
            flush=True,
        )
    await conn.execute(_COUNT, keys, [count * turns for count in rows], MODEL)
    await conn.execute("VACUUM (ANALYZE)")
    return keys


def record_id(number: int) -> str:
    """Return the id of a connection's record, counted from 0."""
    return hashlib.md5(str(number).encode()).hexdigest()[:20]


def batch(numbers: Iterable[int], revisions: Iterable[int]) -> PreparedBatch:
    """Return records of a connection as they are saved; those of revision 0 are there already."""
    ids, payloads = [], []
    for number, revision in zip(numbers, revisions, strict=True):
        digest = hashlib.md5(str(number).encode()).hexdigest()
        ids.append(digest[:20])
        payloads.append(
            f'{{"id":"{digest[:20]}","number":{number},"title":"Issue {number}","state":"open",'
            f'"revision":{revision},"body":"{digest * 41}"}}'.encode()
        )
    return PreparedBatch(
        tuple(ids), tuple(payloads), tuple(hashlib.md5(payload).digest() for payload in payloads)
    )
