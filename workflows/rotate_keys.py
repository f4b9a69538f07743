"""The `key-rotation` workflow: everything encrypted is encrypted anew with the newest key."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.key_rotation import (
        ColumnSlice,
        KeyRotationActivities,
        RotationInput,
        RotationOver,
        ScheduleSlice,
        Slice,
    )
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from workflows.steps import run_step

__all__ = ["RotateKeys"]

# What processes with an old ring write meanwhile is found by another pass, and not for ever.
_MOST_PASSES = 5


@workflow.defn(name=WorkflowType.KEY_ROTATION)
class RotateKeys:
    """Goes through all columns and schedules until a pass finds nothing to do.

    It knows where it is, so a worker that dies costs the portion that was under way.
    """

    def __init__(self) -> None:
        self._rewritten = 0

    @workflow.run
    async def run(self, wanted: RotationInput) -> int:
        """Encrypt everything anew.

        Returns:
            How many values were.
        """
        begun = await run_step(
            KeyRotationActivities.begin_key_rotation,
            wanted,
            summary=f"begin with the key {wanted.key_id}",
            policy=policies.BOOKKEEPING,
        )
        for number in range(1, _MOST_PASSES + 1):
            before = self._rewritten
            for column in begun.columns:
                await self._column(begun.rotation, column, wanted, number)
            await self._schedules(begun.rotation, wanted, number)
            if self._rewritten == before:
                break
        await run_step(
            KeyRotationActivities.finish_key_rotation,
            RotationOver(rotation=begun.rotation),
            summary=f"done: {self._rewritten:,} values",
            policy=policies.BOOKKEEPING,
        )
        return self._rewritten

    async def _column(self, rotation: int, column: str, wanted: RotationInput, number: int) -> None:
        after = None
        while True:
            done = await run_step(
                KeyRotationActivities.rotate_column,
                ColumnSlice(
                    rotation=rotation,
                    column=column,
                    after=after,
                    slice_seconds=wanted.slice_seconds,
                    rows=wanted.rows,
                    pause_seconds=wanted.pause_seconds,
                ),
                summary=f"{column} · pass {number}",
                policy=policies.RECORDS,
            )
            self._count(done, column)
            after = done.after
            if after is None:
                return

    async def _schedules(self, rotation: int, wanted: RotationInput, number: int) -> None:
        page = ""
        while True:
            done = await run_step(
                KeyRotationActivities.rotate_schedules,
                ScheduleSlice(rotation=rotation, page=page, slice_seconds=wanted.slice_seconds),
                summary=f"schedules · pass {number}",
                policy=policies.SCHEDULES,
            )
            self._count(done, "schedules")
            page = done.page
            if not page:
                return

    def _count(self, done: Slice, what: str) -> None:
        self._rewritten += done.rewritten
        workflow.set_current_details(f"{what}: {self._rewritten:,} values encrypted anew so far")
