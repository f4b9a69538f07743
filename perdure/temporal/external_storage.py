"""Large payloads live in Postgres under their content hash; the history holds only a claim."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

__all__ = ["CLAIM_KEY", "BlobStore", "PostgresStorageDriver", "external_storage"]

_THRESHOLD_BYTES = 16 * 1024
_CACHE_BYTES = 64 * 1024 * 1024
CLAIM_KEY = "sha256"
"""Name of a blob's key in claims. It can never change."""


class BlobStore(Protocol):
    """Content-addressed bytes."""

    async def put_many(self, blobs: Mapping[str, bytes]) -> None:
        """Store each blob under its key; one that is there already is left alone."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the blobs that exist."""


class PostgresStorageDriver(StorageDriver):
    """Keeps payloads under the SHA-256 of their bytes, so that storing twice is harmless.

    A bounded cache of what this process stored or read lately saves reading back what the
    workflow on the same worker asks for next.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0

    def name(self) -> str:
        """Return the name that stands in claims. It can never change."""
        return "perdure-postgres"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """Store the payloads and return a claim for each."""
        del context
        blobs = {}
        claims = []
        for payload in payloads:
            data = payload.SerializeToString(deterministic=True)
            key = hashlib.sha256(data).hexdigest()
            if key not in self._cache:
                blobs[key] = data
            claims.append(StorageDriverClaim(claim_data={CLAIM_KEY: key}))
        if blobs:
            await self._blobs.put_many(blobs)
            for key, data in blobs.items():
                self._remember(key, data)
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Return the payloads of the claims.

        Raises:
            KeyError: A claimed payload is not there any more.
        """
        del context
        keys = [claim.claim_data[CLAIM_KEY] for claim in claims]
        found = {key: self._cache[key] for key in keys if key in self._cache}
        missing = sorted(set(keys) - found.keys())
        if missing:
            loaded = await self._blobs.get_many(missing)
            for key, data in loaded.items():
                self._remember(key, data)
            found.update(loaded)
        return [Payload.FromString(found[key]) for key in keys]

    def _remember(self, key: str, data: bytes) -> None:
        if key in self._cache or len(data) > _CACHE_BYTES // 4:
            return
        self._cache[key] = data
        self._cached_bytes += len(data)
        while self._cached_bytes > _CACHE_BYTES:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped)


def external_storage(driver: StorageDriver) -> ExternalStorage:
    """Return the SDK's configuration: payloads of 16 KiB and more leave the history."""
    return ExternalStorage(drivers=[driver], payload_size_threshold=_THRESHOLD_BYTES)
