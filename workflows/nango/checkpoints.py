"""Checkpoints as scripts see them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.checkpoints import CheckpointActivities, SaveCheckpointInput
    from perdure.nango import CheckpointValue, HelperError
    from perdure.records.canonical import to_json
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.nango.steps import HelperSteps

__all__ = ["CheckpointSteps"]

_LARGEST = 64 * 1024


class CheckpointSteps(HelperSteps):
    """`get_checkpoint`, `save_checkpoint` and `clear_checkpoint`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self._version: int | None = None
        self._one_at_a_time = asyncio.Lock()
        # A dry run changes none, and an item's own lasts as long as the work on it.
        self._is_kept_here = context.dry_run
        self._kept: dict[str, CheckpointValue] | None = None

    def state(self) -> RunState:
        """See base class."""
        return super().state().model_copy(update={"checkpoint": self._kept})

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._kept = state.checkpoint

    def keep_checkpoint_of_item(self, checkpoint: dict[str, CheckpointValue] | None) -> None:
        """Let the script have a checkpoint that lasts as long as the work on its item.

        Args:
            checkpoint: What a former execution saved.
        """
        self._is_kept_here, self._kept = True, checkpoint

    async def get_checkpoint(self) -> dict[str, CheckpointValue] | None:
        """See base class."""
        if self._is_kept_here:
            return self._kept and dict(self._kept)
        async with self._one_at_a_time:
            found = await self._lookup(
                CheckpointActivities.get_checkpoint, self._context, "checkpoint", observes=False
            )
            self._version = found.version
            self.resumes = self.resumes or found.is_earlier
        return found.value

    async def save_checkpoint(self, checkpoint: Mapping[str, CheckpointValue]) -> None:
        """See base class."""
        await self._save(_flat(checkpoint), "save the checkpoint")
        if self.history is not None and self.history.is_long and not self._context.dry_run:
            self.halt()
            await self._unhalted()
            self._raise_unwritten()

    async def clear_checkpoint(self) -> None:
        """See base class."""
        await self._save(None, "clear the checkpoint")

    async def _save(self, value: dict[str, CheckpointValue] | None, summary: str) -> None:
        if self.secrets.within(value):
            msg = (
                "The checkpoint holds a credential of the connection; it is stored and shown in "
                "clear, so leave that out"
            )
            raise HelperError(msg, code="invalid_checkpoint")
        await self._all_written()
        if self._is_kept_here:
            self._kept = value
            return
        async with self._one_at_a_time:
            self._version = await self._lookup(
                CheckpointActivities.save_checkpoint,
                SaveCheckpointInput(context=self._context, value=value, expected=self._version),
                summary,
            )


def _flat(checkpoint: Mapping[str, CheckpointValue]) -> dict[str, CheckpointValue]:
    """Return a checkpoint as it is stored.

    Raises:
        HelperError: `invalid_checkpoint`.
    """
    if not isinstance(checkpoint, Mapping):
        msg = f"A checkpoint is a mapping of strings to values, not {type(checkpoint).__name__}"
        raise HelperError(msg, code="invalid_checkpoint")
    for name, value in checkpoint.items():
        if not isinstance(name, str):
            msg = f"checkpoint: the key {name!r} is not a string"
            raise HelperError(msg, code="invalid_checkpoint")
        if not isinstance(value, str | int | float | bool):
            msg = (
                f"checkpoint[{name!r}] is {type(value).__name__}; only strings, numbers and "
                "booleans are possible"
            )
            raise HelperError(msg, code="invalid_checkpoint")
        if isinstance(value, float) and not math.isfinite(value):
            msg = f"checkpoint[{name!r}] is {value}, which JSON has no form for"
            raise HelperError(msg, code="invalid_checkpoint")
    if len(to_json(dict(checkpoint))) > _LARGEST:
        msg = f"The checkpoint is larger than {_LARGEST // 1024} KiB; save records instead"
        raise HelperError(msg, code="invalid_checkpoint")
    return dict(checkpoint)
