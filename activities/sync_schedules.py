"""One Temporal Schedule for each sync of each connection: the only truth for what runs when."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.schedule.v1 import SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.workflowservice.v1 import (
    ListScheduleMatchingTimesRequest,
    PatchScheduleRequest,
)
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecution,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleListDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import Priority, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from config.intervals import Interval
from perdure.clock import utcnow
from perdure.db.syncs import Sync
from perdure.ids import sync_workflow_id
from perdure.temporal.names import SearchAttribute, TaskQueue, WorkflowType
from perdure.temporal.payloads import SyncInput

__all__ = [
    "Execution",
    "ScheduleStatus",
    "SyncSchedules",
    "schedule_id",
    "schedule_spec",
    "sync_input",
]

# A run that was due while the server was down is made up for once, if it is not too long ago.
_CATCH_UP = timedelta(minutes=10)

_RPC_TIMEOUT = timedelta(seconds=10)
_LISTED_AT_ONCE = 1_000
# Older servers do not say.
_MAY_RUN = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_UNSPECIFIED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
)
_PATCH_POLLS = 100
_PATCH_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Execution:
    """A run as a schedule started it.

    Attributes:
        workflow_id: Its workflow id; those of two runs in the same second are the same.
        run_id: Run id of its first execution, which is the id of the run.
    """

    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """How a schedule stands.

    Attributes:
        paused: Whether it fires by itself.
        next_run_at: When it fires next, None while it is paused.
        running: Its runs that are under way.
        buffered: How many runs start as soon as those have ended.
        latest: The two runs that it started last, under way or ended; none where it was listed.
    """

    paused: bool
    next_run_at: datetime | None
    running: tuple[Execution, ...]
    buffered: int = 0
    latest: tuple[Execution, ...] = ()


def sync_input(environment: str, sync: Sync) -> SyncInput:
    """Return what identifies a sync to its workflow and its schedule."""
    return SyncInput(
        environment=environment,
        environment_id=sync.environment_id,
        integration=sync.integration,
        connection_id=sync.connection_id,
        connection_key=sync.connection_key,
        sync=sync.name,
        variant=sync.variant,
    )


def schedule_id(sync: SyncInput) -> str:
    """Return the id of a sync's schedule."""
    return sync_workflow_id(
        sync.environment, sync.integration, sync.connection_id, sync.sync, sync.variant
    )


def schedule_spec(interval: Interval, spread_by: str) -> ScheduleSpec:
    """Return when a schedule fires.

    Args:
        interval: A period or a calendar.
        spread_by: Text whose hash decides where within its period a schedule fires, so that a
            thousand hourly syncs do not start in the same second.
    """
    jitter = timedelta(seconds=interval.jitter_seconds) if interval.jitter_seconds else None
    if interval.every is None:
        return ScheduleSpec(
            cron_expressions=[interval.cron or ""],
            time_zone_name=interval.timezone,
            jitter=jitter,
        )
    digest = hashlib.sha256(spread_by.encode()).digest()
    offset = int.from_bytes(digest[:8]) % max(1, int(interval.every.total_seconds()))
    return ScheduleSpec(
        intervals=[ScheduleIntervalSpec(every=interval.every, offset=timedelta(seconds=offset))],
        jitter=jitter,
    )


class SyncSchedules:
    """Makes, changes and reads the schedules of syncs.

    Args:
        client: A connected client; its errors pass through.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ensure(
        self,
        sync: SyncInput,
        interval: Interval,
        *,
        auto_start: bool,
    ) -> bool:
        """Make a sync's schedule, or bring an existing one up to date.

        A new one starts its first run at once, unless `auto_start` is off: then it is paused.
        An existing one stays paused or running as it is.

        Args:
            sync: Which sync.
            interval: When it runs.
            auto_start: Whether a new one runs by itself.

        Returns:
            Whether it is new.
        """
        schedule = Schedule(
            action=_action(sync),
            spec=schedule_spec(interval, schedule_id(sync)),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=_CATCH_UP),
            state=ScheduleState(
                paused=not auto_start, note=None if auto_start else "auto_start is false"
            ),
        )
        try:
            await self._client.create_schedule(
                schedule_id(sync),
                schedule,
                trigger_immediately=auto_start,
                search_attributes=_search_attributes(sync),
            )
        except ScheduleAlreadyRunningError:
            await self._update(sync, schedule)
            return False
        return True

    async def pause(self, sync: SyncInput) -> bool:
        """Stop a schedule from firing and leave its runs alone; returns whether it exists."""
        if not await self._if_exists(self._handle(sync).pause(note="paused by a user")):
            return False
        await self._until(sync, paused=True)
        return True

    async def start(self, sync: SyncInput, *, since: datetime | None = None) -> bool:
        """Let a schedule fire again, at once if a run was due while it was paused.

        Args:
            sync: Which sync.
            since: When its last run started; None where a run is due at any rate.

        Returns:
            Whether the schedule exists.
        """
        status = await self.status(sync)
        if status is None:
            return False
        if status.paused:
            is_due = since is None or await self._fires_between(sync, since, utcnow())
            # In one patch: of two that reach the schedule together the server keeps the last.
            patch = SchedulePatch(
                unpause="started by a user",
                trigger_immediately=TriggerImmediatelyRequest() if is_due else None,
            )
            await self._client.workflow_service.patch_schedule(
                PatchScheduleRequest(
                    namespace=self._client.namespace,
                    schedule_id=schedule_id(sync),
                    patch=patch,
                    identity=self._client.identity,
                    request_id=str(uuid.uuid4()),
                ),
                timeout=_RPC_TIMEOUT,
            )
            await self._until(sync, paused=False)
        return True

    async def trigger(self, sync: SyncInput) -> bool:
        """Start a run now, or right after the one that is under way; works on paused schedules.

        Returns:
            Whether the schedule exists.
        """
        return await self._if_exists(
            self._handle(sync).trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE)
        )

    async def set_interval(self, sync: SyncInput, interval: Interval) -> bool:
        """Change when a schedule fires; returns whether it exists."""
        spec = schedule_spec(interval, schedule_id(sync))

        async def change(found: ScheduleUpdateInput) -> ScheduleUpdate:
            found.description.schedule.spec = spec
            return ScheduleUpdate(found.description.schedule)

        return await self._if_exists(self._handle(sync).update(change))

    async def forget(self, sync: SyncInput) -> bool:
        """Delete a schedule and leave its runs alone; returns whether it existed."""
        return await self._if_exists(self._handle(sync).delete())

    async def status(self, sync: SyncInput) -> ScheduleStatus | None:
        """Return how a schedule stands, None where there is none."""
        try:
            found = await self._handle(sync).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        paused = found.schedule.state.paused
        upcoming = found.info.next_action_times
        return ScheduleStatus(
            paused=paused,
            next_run_at=upcoming[0] if upcoming and not paused else None,
            running=_executions(found.info.running_actions),
            buffered=found.raw_description.info.buffer_size,
            latest=_executions(result.action for result in found.info.recent_actions[-2:]),
        )

    async def listed(self, environment: str, integration: str) -> dict[str, ScheduleStatus]:
        """Return how the schedules of an integration stand, by id, as the server lists them.

        The list is read at once, where `status` asks a schedule itself. A change of a moment ago
        may be missing, and a run may stand in it that has ended: its end is noted there when the
        schedule fires next. Schedules that the list tells too little of are left out.
        """
        schedules = await self._client.list_schedules(
            f"{SearchAttribute.ENVIRONMENT.name} = '{environment}'"
            f" AND {SearchAttribute.INTEGRATION.name} = '{integration}'",
            page_size=_LISTED_AT_ONCE,
            rpc_timeout=_RPC_TIMEOUT,
        )
        now = utcnow()
        return {
            schedule.id: status
            async for schedule in schedules
            if (status := _listed_status(schedule, now)) is not None
        }

    async def cancel(self, executions: Iterable[Execution]) -> None:
        """Ask runs to stop; those that have ended are left alone."""
        for execution in executions:
            handle = self._client.get_workflow_handle(
                execution.workflow_id, first_execution_run_id=execution.run_id
            )
            await self._if_exists(handle.cancel())

    async def _fires_between(self, sync: SyncInput, start: datetime, end: datetime) -> bool:
        request = ListScheduleMatchingTimesRequest(
            namespace=self._client.namespace, schedule_id=schedule_id(sync)
        )
        request.start_time.FromDatetime(start)
        request.end_time.FromDatetime(end)
        answer = await self._client.workflow_service.list_schedule_matching_times(
            request, timeout=_RPC_TIMEOUT
        )
        return bool(answer.start_time)

    async def _until(self, sync: SyncInput, *, paused: bool) -> None:
        """Wait until a patch has reached the schedule, so that the next one cannot overtake it."""
        for _ in range(_PATCH_POLLS):
            status = await self.status(sync)
            if status is None or status.paused is paused:
                return
            await asyncio.sleep(_PATCH_POLL_SECONDS)

    def _handle(self, sync: SyncInput) -> ScheduleHandle:
        return self._client.get_schedule_handle(schedule_id(sync))

    async def _update(self, sync: SyncInput, wanted: Schedule) -> None:
        async def change(found: ScheduleUpdateInput) -> ScheduleUpdate | None:
            schedule = found.description.schedule
            schedule.spec = wanted.spec
            schedule.policy = wanted.policy
            schedule.action = wanted.action
            return ScheduleUpdate(schedule)

        await self._handle(sync).update(change)

    async def _if_exists(self, call: Awaitable[None]) -> bool:
        try:
            await call
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True


def _executions(actions: Iterable[ScheduleActionExecution]) -> tuple[Execution, ...]:
    return tuple(
        Execution(action.workflow_id, action.first_execution_run_id)
        for action in actions
        if isinstance(action, ScheduleActionExecutionStartWorkflow)
    )


def _action(sync: SyncInput) -> ScheduleActionStartWorkflow:
    return ScheduleActionStartWorkflow(
        WorkflowType.SYNC,
        sync,
        id=schedule_id(sync),
        task_queue=TaskQueue.SYNCS,
        # None that Temporal would end: a run ends itself when its time is over, counted from when
        # a worker took it up, and first writes what it was given to write.
        typed_search_attributes=_search_attributes(sync),
        static_summary=f"{sync.integration} / {sync.sync} for {sync.connection_id}"[:180],
        priority=Priority(fairness_key=f"{sync.environment}/{sync.connection_id}"[:64]),
    )


def _listed_status(schedule: ScheduleListDescription, now: datetime) -> ScheduleStatus | None:
    info = schedule.raw_entry.info
    upcoming = (time.ToDatetime(UTC) for time in info.future_action_times)
    next_run_at = next((time for time in upcoming if time > now), None)
    if not info.paused and next_run_at is None:
        return None
    last = info.recent_actions[-1] if info.recent_actions else None
    running: tuple[Execution, ...] = ()
    if last is not None and last.start_workflow_status in _MAY_RUN:
        started = last.start_workflow_result
        running = (Execution(started.workflow_id, started.run_id),)
    return ScheduleStatus(
        paused=info.paused, next_run_at=None if info.paused else next_run_at, running=running
    )


def _search_attributes(sync: SyncInput) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttribute.ENVIRONMENT, sync.environment),
            SearchAttributePair(SearchAttribute.INTEGRATION, sync.integration),
            SearchAttributePair(SearchAttribute.CONNECTION, sync.connection_id),
            SearchAttributePair(SearchAttribute.SCRIPT, sync.sync),
            SearchAttributePair(SearchAttribute.KIND, WorkflowType.SYNC),
        ]
    )
