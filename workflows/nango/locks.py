"""Locks between runs."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.locks import LockActivities, LockRef, TryAcquire
    from perdure.nango import HelperError
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.nango.steps import HelperSteps

__all__ = ["LockSteps"]

_KEY_LENGTH = 255
_LONGEST_TTL_MS = 10 * 365 * 24 * 3600 * 1000


class LockSteps(HelperSteps):
    """`try_acquire_lock`, `release_lock`, `release_all_locks`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self._took_locks = False
        # A dry run keeps nobody out.
        self._own_locks: set[str] = set()

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._took_locks = True  # perhaps in a former execution

    async def end(self) -> None:
        """Release what the run took, and wait for what is written behind."""
        if self._took_locks:
            await self.release_all_locks()
        await self.close()

    async def try_acquire_lock(self, *, key: str, ttl_ms: int) -> bool:
        """See base class."""
        if isinstance(ttl_ms, bool) or not isinstance(ttl_ms, int):
            msg = f"ttl_ms is a whole number of milliseconds, not {ttl_ms!r}"
            raise HelperError(msg, code="invalid_options")
        if not 0 < ttl_ms <= _LONGEST_TTL_MS:
            msg = f"ttl_ms must be above 0 and at most ten years, not {ttl_ms}"
            raise HelperError(msg, code="invalid_options")
        wanted = TryAcquire(lock=self._lock(key), ttl_ms=ttl_ms)
        if self._context.dry_run:
            self._own_locks.add(key)
            return True
        self._took_locks = True
        return await self._lookup(
            LockActivities.try_acquire_lock, wanted, f"take the lock {key}", observes=False
        )

    async def release_lock(self, *, key: str) -> bool:
        """See base class."""
        lock = self._lock(key)
        if self._context.dry_run:
            held = key in self._own_locks
            self._own_locks.discard(key)
            return held
        return await self._lookup(LockActivities.release_lock, lock, f"release the lock {key}")

    async def release_all_locks(self) -> None:
        """See base class."""
        self._own_locks.clear()
        if not self._context.dry_run:
            await self._lookup(LockActivities.release_all_locks, self.run_id, "release all locks")
        self._took_locks = False

    def _lock(self, key: str) -> LockRef:
        if not isinstance(key, str) or not 1 <= len(key) <= _KEY_LENGTH:
            msg = f"the key of a lock is a text of 1 to {_KEY_LENGTH} characters, not {key!r:.300}"
            raise HelperError(msg, code="invalid_options")
        return LockRef(
            environment_id=self._context.environment_id,
            key=key,
            owner=self._context.run_id,
            sealed=self.secrets.within(key),
        )
