"""The schedule of the maintenance: one for all environments of a Temporal namespace."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
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
from temporalio.service import RPCError

from activities.maintenance import Sweep
from perdure.temporal.names import TaskQueue, WorkflowType

__all__ = ["ensure_maintenance"]

_EVERY = timedelta(minutes=5)
_RPC_TIMEOUT = timedelta(seconds=10)
_AGAIN_SECONDS = 5.0
# A worker that may not make schedules says so, but not for ever in the same breath.
_MOST_AGAIN_SECONDS = 300.0

log = structlog.get_logger(__name__)


async def ensure_maintenance(client: Client) -> None:
    """Make the schedule where it is missing; one that is there stays as somebody left it.

    Tries until Temporal has answered: a worker that starts while it is slow has other work to do.
    """
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
    wait = _AGAIN_SECONDS
    while True:
        try:
            await client.create_schedule(
                WorkflowType.MAINTENANCE, schedule, rpc_timeout=_RPC_TIMEOUT
            )
        except ScheduleAlreadyRunningError:
            return
        except RPCError as error:
            log.warning("maintenance_not_scheduled", status=error.status.name)
        else:
            return
        await asyncio.sleep(wait)
        wait = min(2 * wait, _MOST_AGAIN_SECONDS)
