"""The schedule of the maintenance: one for all environments of a Temporal namespace."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from activities.maintenance import Sweep
from perdure.temporal.names import TaskQueue, WorkflowType

__all__ = ["ensure_maintenance"]

_EVERY = timedelta(minutes=5)
_RPC_TIMEOUT = timedelta(seconds=10)


async def ensure_maintenance(client: Client) -> None:
    """Make the schedule where it is missing; one that is there stays as somebody left it."""
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            WorkflowType.MAINTENANCE,
            Sweep(),
            id=WorkflowType.MAINTENANCE,
            task_queue=TaskQueue.ACTIONS,
            static_summary="settle and tidy up",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=_EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_EVERY),
    )
    with suppress(ScheduleAlreadyRunningError):
        await client.create_schedule(WorkflowType.MAINTENANCE, schedule, rpc_timeout=_RPC_TIMEOUT)
