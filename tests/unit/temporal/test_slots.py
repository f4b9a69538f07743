"""Places of a worker's steps: who has one, and whether others may wait for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from perdure.temporal.slots import SlotInterceptor, others_may_wait


class Step(ActivityInboundInterceptor):
    def __init__(self, slots: SlotInterceptor) -> None:
        self._slots = slots

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return self._slots.is_full, others_may_wait()


@pytest.mark.parametrize(("is_local", "is_full"), [(False, True), (True, False)])
async def test_only_steps_with_a_task_of_their_own_take_a_place(
    is_local: bool, is_full: bool
) -> None:
    slots = SlotInterceptor(1)
    step = slots.intercept_activity(Step(slots))
    worker = ActivityEnvironment()
    worker.info = replace(worker.info, is_local=is_local)

    async def execute() -> Any:
        return await step.execute_activity(ExecuteActivityInput(execute, (), None, {}))

    assert await worker.run(execute) == (is_full, is_full)
    assert not slots.is_full
