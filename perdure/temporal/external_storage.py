"""Large payloads live in Postgres under their content hash; the history holds only a claim."""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from temporalio.exceptions import ApplicationError

from perdure.ids import is_sync_workflow_id
from perdure.temporal.names import WorkflowType

__all__ = [
    "CLAIM_KEY",
    "THRESHOLD_BYTES",
    "BlobStore",
    "PayloadsGoneError",
    "PostgresStorageDriver",
    "claimed_keys",
    "external_storage",
]

THRESHOLD_BYTES = 16 * 1024
"""Payloads of this size and more leave the history."""

CLAIM_KEY = "sha256"
"""Name of a blob's key in claims. It can never change."""

_CACHE_BYTES = 64 * 1024 * 1024
_READ_ONCE_BYTES = 256 * 1024
# What is not used for long is removed: what this process knows to be stored it knows for a while.
_CACHE_SECONDS = 3600.0
_ITEMS = frozenset({WorkflowType.EACH, WorkflowType.EACH_BATCH})
_KEY = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class BlobStore(Protocol):
    """Content-addressed bytes."""

    async def put_many(self, blobs: Mapping[str, bytes], *, lasting: bool) -> None:
        """Store each blob under its key; of one that is there already, note that it is used."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the blobs that exist, and note that they are used."""


class PayloadsGoneError(ApplicationError):
    """Payloads that a history names are not kept any more.

    A run whose history is replayed up to there stays there, and says so: it may only fail where
    its history ended, which it cannot reach.
    """

    def __init__(self) -> None:
        super().__init__(
            "What this run has fetched and saved in its steps is not kept any more, so it can "
            "neither go on nor be replayed. Terminate it, and start a new run. Payloads of syncs "
            "that have ended well are removed after PERDURE_PAYLOADS_DAYS.",
            type="payloads_gone",
        )


class PostgresStorageDriver(StorageDriver):
    """Keeps payloads under the SHA-256 of their bytes, so that storing twice is harmless.

    What goes into the history of a sync's run, or of an item of `nango.each`, is worked on there,
    and of use to nobody once the run has ended well. All else is lasting: others read results of
    actions from their histories, and those of items from the history of the run they belong to.

    A bounded cache of what this process stored or read lately saves reading back what the
    workflow on the same worker asks for next.

    Args:
        blobs: Where they are kept.
        now: Seconds of a clock that goes on while the machine sleeps.
    """

    def __init__(self, blobs: BlobStore, now: Callable[[], float] = time.time) -> None:
        self._blobs = blobs
        self._now = now
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._cached_bytes = 0

    def name(self) -> str:
        """Return the name that stands in claims. It can never change."""
        return "perdure-postgres"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """Store the payloads and return a claim for each."""
        data = [payload.SerializeToString(deterministic=True) for payload in payloads]
        return await self.store_serialized(context, data)

    async def store_serialized(
        self,
        context: StorageDriverStoreContext,
        payloads: Sequence[bytes],
        *,
        remember: bool = True,
    ) -> list[StorageDriverClaim]:
        """Store payloads that are serialized already.

        Args:
            context: Whose they are.
            payloads: The payloads.
            remember: Whether they are remembered, see `remember`.
        """
        lasting = _is_lasting(context)
        blobs = {}
        claims = []
        for data in payloads:
            key = hashlib.sha256(data).hexdigest()
            cached = self._cached(key)
            if cached is None or (lasting and not cached.lasting):
                blobs[key] = data
            claims.append(StorageDriverClaim(claim_data={CLAIM_KEY: key}))
        if blobs:
            await self._blobs.put_many(blobs, lasting=lasting)
            if remember:
                self.remember(blobs, lasting=lasting)
        return claims

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Return the payloads of the claims.

        Raises:
            PayloadsGoneError: A claimed payload is not there any more.
        """
        del context
        keys = [claim.claim_data[CLAIM_KEY] for claim in claims]
        found = {key: cached.data for key in keys if (cached := self._cached(key)) is not None}
        missing = sorted(set(keys) - found.keys())
        if missing:
            loaded = await self._blobs.get_many(missing)
            if len(loaded) < len(missing):
                raise PayloadsGoneError
            self.remember(loaded)
            found.update(loaded)
        for key in found:
            self._let_go(key)
        return [Payload.FromString(found[key]) for key in keys]

    def _cached(self, key: str) -> _Cached | None:
        cached = self._cache.get(key)
        is_fresh = cached is not None and abs(self._now() - cached.since) < _CACHE_SECONDS
        return cached if is_fresh else None

    def remember(self, blobs: Mapping[str, bytes], *, lasting: bool = False) -> None:
        """Keep stored payloads for whoever asks for them next.

        Args:
            blobs: The serialized payloads by their keys.
            lasting: Whether they are known to be lasting.
        """
        now = self._now()
        for key, data in blobs.items():
            self._forget(key)
            if len(data) <= _CACHE_BYTES // 4:
                self._cache[key] = _Cached(data, now, lasting)
                self._cached_bytes += len(data)
        while self._cached_bytes > _CACHE_BYTES:
            self._forget(next(iter(self._cache)))

    def _let_go(self, key: str) -> None:
        """Drop what has been read and is read once.

        That is a page, by the script, and a batch, by its step. What is small may be a script,
        which all of its runs read.
        """
        cached = self._cache.get(key)
        if cached is not None and not cached.lasting and len(cached.data) >= _READ_ONCE_BYTES:
            self._forget(key)

    def _forget(self, key: str) -> None:
        cached = self._cache.pop(key, None)
        self._cached_bytes -= len(cached.data) if cached else 0


@dataclass(frozen=True, slots=True)
class _Cached:
    """What this process has stored or read, when, and whether it knows that it is lasting."""

    data: bytes
    since: float
    lasting: bool


def _is_lasting(context: StorageDriverStoreContext) -> bool:
    target = context.target
    # The SDK names no type where a workflow's result goes to its parent, and with signals.
    if not isinstance(target, StorageDriverWorkflowInfo) or target.type is None:
        return True
    if target.type == WorkflowType.SYNC:
        # A dry run is one, too, and is read from its history.
        return target.id is None or not is_sync_workflow_id(target.id)
    return target.type not in _ITEMS


def claimed_keys(serialized: bytes) -> set[str]:
    """Return the keys of all blobs that a serialized message of Temporal names.

    Whatever looks like a key counts: nobody is hurt where one too many is taken for it.
    """
    return {key.decode() for key in _KEY.findall(serialized)}


def external_storage(driver: StorageDriver) -> ExternalStorage:
    """Return the SDK's configuration: payloads of 16 KiB and more leave the history."""
    return ExternalStorage(drivers=[driver], payload_size_threshold=THRESHOLD_BYTES)
