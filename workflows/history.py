"""How long the history of an execution is, and what follows from that.

The server ends an execution whose history reaches its limit, without asking. Long before that a
script may be started again at a checkpoint; later it is warned, and at last it is failed with an
error that says what to do.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from perdure.temporal.payloads import HistoryLimits

__all__ = ["History"]

_LONG = 0.2
_NEAR = 0.6
# What is under way when a run is failed still adds events: up to six for each of 2,000 steps.
_FULL = 0.75


class History:
    """The history of the current execution against its limits.

    Args:
        limits: What the server allows.
    """

    def __init__(self, limits: HistoryLimits) -> None:
        self._limits = limits

    @property
    def is_long(self) -> bool:
        """Whether the execution had better end at the next opportunity."""
        return workflow.info().is_continue_as_new_suggested() or self._share >= _LONG

    @property
    def is_near_limit(self) -> bool:
        """Whether whoever wrote the script should know."""
        return self._share >= _NEAR

    @property
    def is_full(self) -> bool:
        """Whether the run has to end now."""
        return self._share >= _FULL

    def __str__(self) -> str:
        info = workflow.info()
        events, size = info.get_current_history_length(), info.get_current_history_size()
        return (
            f"{events:,} of {self._limits.max_events:,} events, "
            f"{size / 2**20:.1f} of {self._limits.max_bytes / 2**20:.0f} MB"
        )

    @property
    def _share(self) -> float:
        info = workflow.info()
        return max(
            info.get_current_history_length() / self._limits.max_events,
            info.get_current_history_size() / self._limits.max_bytes,
        )
