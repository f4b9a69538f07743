"""Whether a step's worker has room for another one.

A worker carries out so many steps at once and asks Temporal for no more of them. So a step that
works for long tells by this whether others may be waiting for its place.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

__all__ = ["SlotInterceptor", "others_may_wait"]


class SlotInterceptor(Interceptor):
    """Counts the steps of one worker that are under way.

    Args:
        most: How many there may be: the worker's `max_concurrent_activities`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another step."""
        return self._taken >= self._most

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Activities(next, self)

    async def within(self, step: ActivityInboundInterceptor, input: ExecuteActivityInput) -> Any:
        """Carry out a step in a place of its own."""
        self._taken += 1
        _slots.set(self)
        try:
            return await step.execute_activity(input)
        finally:
            self._taken -= 1


# Each step has a task of its own, and so a context that ends with it.
_slots: ContextVar[SlotInterceptor | None] = ContextVar("slots", default=None)


def others_may_wait() -> bool:
    """Say, within a step, whether its worker takes no further ones on."""
    slots = _slots.get()
    return slots is not None and slots.is_full


class _Activities(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, slots: SlotInterceptor) -> None:
        super().__init__(next)
        self._slots = slots

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().is_local:
            # These have room of their own.
            return await self.next.execute_activity(input)
        return await self._slots.within(self.next, input)
