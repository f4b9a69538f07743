"""Locks that scripts take by name. All steps may be repeated: a run may take its lock again."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity

from perdure.db.database import Database
from perdure.ids import EnvironmentId
from perdure.temporal.payloads import Payload

__all__ = ["LockActivities", "LockRef", "TryAcquire"]


class LockRef(Payload):
    """A lock as one run sees it.

    Attributes:
        owner: Id of the run.
        sealed: Whether the key carries a secret.
    """

    environment_id: int
    key: str
    owner: str
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class TryAcquire(Payload):
    """A lock that a run wants.

    Attributes:
        ttl_ms: Milliseconds after which it is free again.
    """

    lock: LockRef
    ttl_ms: int

    def holds_secret(self) -> bool:
        """See base class."""
        return self.lock.sealed


class LockActivities:
    """Steps that take and release locks."""

    def __init__(self, database: Database) -> None:
        self._locks = database.locks

    @activity.defn
    async def try_acquire_lock(self, wanted: TryAcquire) -> bool:
        """Take a lock unless another run holds it."""
        lock = wanted.lock
        return await self._locks.acquire(
            EnvironmentId(lock.environment_id),
            lock.key,
            lock.owner,
            timedelta(milliseconds=wanted.ttl_ms),
        )

    @activity.defn
    async def release_lock(self, lock: LockRef) -> bool:
        """Release a lock that the run holds."""
        return await self._locks.release(EnvironmentId(lock.environment_id), lock.key, lock.owner)

    @activity.defn
    async def release_all_locks(self, run_id: str) -> None:
        """Release whatever the run holds."""
        await self._locks.release_all(run_id)
