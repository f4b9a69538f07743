"""The schedule of the maintenance: one for all environments of a Temporal namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

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
from temporalio.service import RPCError, RPCStatusCode

from activities.maintenance import Sweep
from perdure.temporal.names import TaskQueue, WorkflowType

__all__ = ["ensure_maintenance", "swept_since", "unbroken_since"]

_EVERY = timedelta(minutes=5)
_RPC_TIMEOUT = timedelta(seconds=10)
# A run that was skipped, since the one before took so long, is no pause yet.
_PAUSE = 2.5 * _EVERY
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


async def swept_since(client: Client, now: datetime) -> datetime:
    """Return since when the maintenance has run without a longer pause; `now` if it has just begun.

    There is a pause where no worker was there, where Temporal was away, and where machines slept.
    The server keeps the last ten runs of a schedule, which is three quarters of an hour.

    Raises:
        RPCError: Temporal does not answer.
    """
    try:
        found = await client.get_schedule_handle(WorkflowType.MAINTENANCE).describe(
            rpc_timeout=_RPC_TIMEOUT
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return now
    return unbroken_since(now, [action.started_at for action in found.info.recent_actions])


def unbroken_since(now: datetime, runs: Sequence[datetime]) -> datetime:
    """Return the first moment of a series up to now that has no longer pause.

    Args:
        now: The present.
        runs: When the maintenance was started, the last ones, in any order.
    """
    since = now
    for run in sorted(runs, reverse=True):
        if since - run > _PAUSE:
            break
        since = min(since, run)
    return since
