"""Large Temporal payloads, kept under the hash of their content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdure.db.pool import Pool, borrowed

__all__ = ["BlobStore"]

_PUT = """
INSERT INTO payload_blobs (key, data)
SELECT key, data FROM unnest($1::text[], $2::bytea[]) AS u (key, data)
ON CONFLICT (key) DO NOTHING
"""

_GET = "SELECT key, data FROM payload_blobs WHERE key = ANY ($1::text[])"


class BlobStore:
    """Stores and returns blobs; a key says all about its content, so nothing is ever replaced."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put_many(self, blobs: Mapping[str, bytes]) -> None:
        """Store each blob under its key; one that is there already is left alone.

        Raises:
            UnavailableError: Nothing was stored.
        """
        # Sorted, so that two writers of the same blobs never wait for each other in a circle.
        keys = sorted(blobs)
        async with borrowed(self._pool) as conn:
            await conn.execute(_PUT, keys, [blobs[key] for key in keys])

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the blobs that exist.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        async with borrowed(self._pool) as conn:
            return {row["key"]: row["data"] for row in await conn.fetch(_GET, keys)}
