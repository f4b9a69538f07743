"""Large Temporal payloads, kept under the hash of their content.

Histories hold only the keys, and several may hold the same one. When a blob was last used is known
to the day: a blob that was stored or read at some moment says that it was used then, or less than
a day before. So one that says nothing of the sort for long can be named by no history that began
since, and is removed once there are no older ones; see `activities.payload_sweep`.

They are JSON mostly. Compressed, only a fraction is kept, and written to the write-ahead log. Both
kinds are read: compressed ones begin as no payload does.

A blob is lasting once it was stored for somebody who needs it for as long as a history names it.
That is never taken back, whoever stores it afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from asyncpg import Record

from perdure.db.pool import DbConnection, Pool, borrowed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BlobStore", "unpacked"]

# 2 MB of text that repeats itself little take 10 ms at this level, and 20 at level 3.
_LEVEL = 1
# What every frame begins with, RFC 8878.
_FRAME = b"\x28\xb5\x2f\xfd"

# Storing what is there already is a use, too. The row is locked even where it stays as it is: it is
# not removed between this and the commit.
_PUT = """
INSERT INTO payload_blobs AS b (key, data, lasting)
SELECT key, data, $3::boolean FROM unnest($1::text[], $2::bytea[]) AS u (key, data)
ON CONFLICT (key) DO UPDATE SET used_at = now(), lasting = b.lasting OR excluded.lasting
 WHERE b.used_at < now() - interval '1 day' OR excluded.lasting AND NOT b.lasting
"""

_GET = """
SELECT key, data, lasting, used_at < now() - interval '1 day' AS is_stale
  FROM payload_blobs
 WHERE key = ANY ($1::text[])
"""

_RENEW = """
WITH named AS (
    SELECT key
      FROM payload_blobs
     WHERE key = ANY ($1::text[]) AND used_at < $2::timestamptz - interval '1 day'
     ORDER BY key
       FOR NO KEY UPDATE)
UPDATE payload_blobs b SET used_at = $2 FROM named WHERE b.key = named.key
"""

_KNOWN = "SELECT key FROM payload_blobs WHERE key = ANY ($1::text[])"

_OLDEST = "SELECT min(used_at) FROM payload_blobs WHERE lasting = $1"

# Whoever uses one at this moment has it locked, or finds it gone and stores it again.
_DROP = """
WITH old AS MATERIALIZED (
    SELECT key
      FROM payload_blobs
     WHERE lasting = $1 AND used_at < $2
     ORDER BY used_at
     LIMIT $3
       FOR UPDATE SKIP LOCKED)
DELETE FROM payload_blobs b USING old WHERE b.key = old.key
"""


class BlobStore:
    """Stores and returns blobs; a key says all about its content, so nothing is ever replaced.

    Args:
        pool: Connections.
        compress: Whether new blobs are compressed. Releases before this could not read them.
    """

    def __init__(self, pool: Pool, *, compress: bool = False) -> None:
        self._pool = pool
        self._compress = compress

    async def put_many(self, blobs: Mapping[str, bytes], *, lasting: bool = True) -> None:
        """Store each blob under its key; of one that is there already, note that it is used.

        Args:
            blobs: The blobs by their keys.
            lasting: Whether they are needed for as long as a history names them.

        Raises:
            UnavailableError: Nothing was stored.
        """
        stored = await asyncio.to_thread(_all_packed, blobs) if self._compress else blobs
        async with borrowed(self._pool) as conn:
            await _put(conn, stored, lasting=lasting)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the blobs that exist, and note that they are used.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_GET, keys)
            for lasting in (False, True):
                stale = {
                    row["key"]: row["data"]
                    for row in rows
                    if row["is_stale"] and row["lasting"] is lasting
                }
                if stale:
                    # Also where somebody has removed one meanwhile: what was read is there
                    # afterwards.
                    await _put(conn, stale, lasting=lasting)
        return await asyncio.to_thread(_all_unpacked, rows)

    async def known(self, keys: Collection[str]) -> set[str]:
        """Return those of the keys whose blobs exist; that is no use of them."""
        async with borrowed(self._pool) as conn:
            return {row["key"] for row in await conn.fetch(_KNOWN, list(keys))}

    async def renew(self, keys: Collection[str], used_at: datetime) -> None:
        """Note that blobs are used.

        Args:
            keys: Their keys; those that do not exist are left out.
            used_at: When.
        """
        if keys:
            async with borrowed(self._pool) as conn:
                await conn.execute(_RENEW, list(keys), used_at)

    async def oldest(self, *, lasting: bool) -> datetime | None:
        """Return when the blob that was not used for longest was used last, None without any.

        Args:
            lasting: Of which blobs.
        """
        async with borrowed(self._pool) as conn:
            used_at: datetime | None = await conn.fetchval(_OLDEST, lasting)
        return used_at

    async def drop_unused(self, before: datetime, *, lasting: bool, limit: int) -> int:
        """Remove blobs that were not used since a moment; returns how many.

        Args:
            before: The moment.
            lasting: Of which blobs.
            limit: Most that are removed.
        """
        async with borrowed(self._pool) as conn:
            tag = await conn.execute(_DROP, lasting, before, limit)
        return int(tag.rpartition(" ")[2])


async def _put(conn: DbConnection, stored: Mapping[str, bytes], *, lasting: bool) -> None:
    # Sorted, so that two writers of the same blobs never wait for each other in a circle.
    keys = sorted(stored)
    await conn.execute(_PUT, keys, [stored[key] for key in keys], lasting)


def _all_packed(blobs: Mapping[str, bytes]) -> dict[str, bytes]:
    return {key: _packed(data) for key, data in blobs.items()}


def _all_unpacked(rows: Sequence[Record]) -> dict[str, bytes]:
    return {row["key"]: unpacked(row["data"]) for row in rows}


def _packed(data: bytes) -> bytes:
    packed = zstd.compress(data, level=_LEVEL)
    # Ciphertext never gets smaller, and has to stay as it is: keys are rotated by its beginning.
    return packed if len(packed) < len(data) else data


def unpacked(stored: bytes) -> bytes:
    """Return a blob as it was before it was stored."""
    return zstd.decompress(stored) if stored.startswith(_FRAME) else stored
