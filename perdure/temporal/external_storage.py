"""Large payloads live in Postgres under their content hash; the history holds only a claim."""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

__all__ = [
    "CLAIM_KEY",
    "THRESHOLD_BYTES",
    "BlobStore",
    "PostgresStorageDriver",
    "claimed_keys",
    "external_storage",
]

THRESHOLD_BYTES = 16 * 1024
"""Payloads of this size and more leave the history."""

CLAIM_KEY = "sha256"
"""Name of a blob's key in claims. It can never change."""

_CACHE_BYTES = 64 * 1024 * 1024
# What is not used for long is removed: what this process knows to be stored it knows for a while.
_CACHE_SECONDS = 3600.0
_KEY = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class BlobStore(Protocol):
    """Content-addressed bytes."""

    async def put_many(self, blobs: Mapping[str, bytes]) -> None:
        """Store each blob under its key; of one that is there already, note that it is used."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the blobs that exist, and note that they are used."""


class PostgresStorageDriver(StorageDriver):
    """Keeps payloads under the SHA-256 of their bytes, so that storing twice is harmless.

    A bounded cache of what this process stored or read lately saves reading back what the
    workflow on the same worker asks for next.

    Args:
        blobs: Where they are kept.
        now: Seconds of a clock that goes on while the machine sleeps.
    """

    def __init__(self, blobs: BlobStore, now: Callable[[], float] = time.time) -> None:
        self._blobs = blobs
        self._now = now
        self._cache: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
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
            if self._cached(key) is None:
                blobs[key] = data
            claims.append(StorageDriverClaim(claim_data={CLAIM_KEY: key}))
        if blobs:
            await self._blobs.put_many(blobs)
            self._remember(blobs)
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
        found = {key: data for key in keys if (data := self._cached(key)) is not None}
        missing = sorted(set(keys) - found.keys())
        if missing:
            loaded = await self._blobs.get_many(missing)
            self._remember(loaded)
            found.update(loaded)
        return [Payload.FromString(found[key]) for key in keys]

    def _cached(self, key: str) -> bytes | None:
        data, since = self._cache.get(key, (None, 0.0))
        return data if abs(self._now() - since) < _CACHE_SECONDS else None

    def _remember(self, blobs: Mapping[str, bytes]) -> None:
        now = self._now()
        for key, data in blobs.items():
            self._forget(key)
            if len(data) <= _CACHE_BYTES // 4:
                self._cache[key] = (data, now)
                self._cached_bytes += len(data)
        while self._cached_bytes > _CACHE_BYTES:
            self._forget(next(iter(self._cache)))

    def _forget(self, key: str) -> None:
        data, _ = self._cache.pop(key, (b"", 0.0))
        self._cached_bytes -= len(data)


def claimed_keys(serialized: bytes) -> set[str]:
    """Return the keys of all blobs that a serialized message of Temporal names.

    Whatever looks like a key counts: nobody is hurt where one too many is taken for it.
    """
    return {key.decode() for key in _KEY.findall(serialized)}


def external_storage(driver: StorageDriver) -> ExternalStorage:
    """Return the SDK's configuration: payloads of 16 KiB and more leave the history."""
    return ExternalStorage(drivers=[driver], payload_size_threshold=THRESHOLD_BYTES)
