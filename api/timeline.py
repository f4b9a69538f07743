"""A run as a line of steps: what it asked for, what it saved, what it waited for, and why.

It is read from Temporal's history, which is all there is to know of a run; the sentences are those
that its steps carry. Only the newest events are read unless all are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client, WorkflowExecutionDescription

from perdure.temporal.external_storage import PayloadsGoneError
from perdure.temporal.failures import leaf_failure

__all__ = ["Step", "StepKind", "StepStatus", "Timeline", "read_timeline"]

StepKind: TypeAlias = Literal["request", "save", "wait", "child", "step"]
StepStatus: TypeAlias = Literal["running", "retrying", "done", "failed", "cancelled"]

_End: TypeAlias = tuple[str, str, StepStatus]

_NEWEST_EVENTS = 500
_MOST_EVENTS = 20_000
_PAGE = 1_000

_KINDS: Mapping[str, StepKind] = {
    "proxy": "request",
    "fetch_page": "request",
    "fetch_pages": "request",
    "uncontrolled_fetch": "request",
    "save_pages": "save",
    "batch_save": "save",
    "batch_update": "save",
    "batch_delete": "save",
    "delete_absent": "save",
}

_BEGINS = frozenset(
    {
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
    }
)


def _ends(of: str, began: str, **statuses: StepStatus) -> dict[EventType.ValueType, _End]:
    """Return by event what it tells: its attributes, the field of what it ends, and how."""
    return {
        EventType.Value(f"EVENT_TYPE_{of}_{how}".upper()): (
            f"{of}_{how}_event_attributes",
            began,
            status,
        )
        for how, status in statuses.items()
    }


_ENDS: Mapping[EventType.ValueType, _End] = {
    **_ends(
        "activity_task",
        "scheduled_event_id",
        completed="done",
        failed="failed",
        timed_out="failed",
        canceled="cancelled",
    ),
    **_ends("timer", "started_event_id", fired="done", canceled="cancelled"),
    **_ends(
        "child_workflow_execution",
        "initiated_event_id",
        completed="done",
        failed="failed",
        timed_out="failed",
        canceled="cancelled",
        terminated="cancelled",
    ),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a run did, or is doing.

    Attributes:
        id: Number of the event with which it began, by which the Temporal UI finds it.
        kind: What sort of thing it is.
        type: Name of its activity or workflow, `timer` for a wait.
        text: A sentence about it.
        status: How it stands.
        began_at: When it was asked for.
        ended_at: When it ended, None while it goes on.
        attempts: How often it was tried, the present attempt included.
        error: Why it, or its last attempt, failed; None where none did.
        next_attempt_at: When it is tried again, None where that is not ahead.
    """

    id: int
    kind: StepKind
    type: str
    text: str
    status: StepStatus
    began_at: datetime
    ended_at: datetime | None = None
    attempts: int = 1
    error: str | None = None
    next_attempt_at: datetime | None = None

    @property
    def took(self) -> float | None:
        """Seconds from when it was asked for to its end, None while it goes on."""
        return None if self.ended_at is None else (self.ended_at - self.began_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps of an execution.

    Attributes:
        steps: The oldest first.
        is_whole: Whether none is missing at the beginning.
    """

    steps: Sequence[Step]
    is_whole: bool


async def read_timeline(
    client: Client, found: WorkflowExecutionDescription, *, whole: bool
) -> Timeline:
    """Read the steps of an execution.

    Args:
        client: Asks Temporal; its errors pass through.
        found: The execution, as it stands.
        whole: Whether to read all of it, however long; else its newest steps.
    """
    execution = WorkflowExecution(workflow_id=found.id, run_id=found.run_id)
    events, is_whole = await (
        _all_events(client, execution) if whole else _newest_events(client, execution)
    )
    reading = _Reading(client)
    for event in events:
        await reading.take(event)
    for pending in found.raw_description.pending_activities:
        await reading.look_at(pending)
    return Timeline(tuple(reading.steps.values()), is_whole)


async def _newest_events(
    client: Client, execution: WorkflowExecution
) -> tuple[Iterable[HistoryEvent], bool]:
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace, execution=execution, maximum_page_size=_NEWEST_EVENTS
        )
    )
    return reversed(answer.history.events), not answer.next_page_token


async def _all_events(
    client: Client, execution: WorkflowExecution
) -> tuple[Iterable[HistoryEvent], bool]:
    events: list[HistoryEvent] = []
    token = b""
    while True:
        answer = await client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=client.namespace,
                execution=execution,
                maximum_page_size=_PAGE,
                next_page_token=token,
            )
        )
        events.extend(answer.history.events)
        token = answer.next_page_token
        if not token or len(events) >= _MOST_EVENTS:
            return events[-_MOST_EVENTS:], len(events) <= _MOST_EVENTS


@dataclass(slots=True)
class _Reading:
    """Steps by the number of the event with which each began, as far as events were read."""

    client: Client
    steps: dict[int, Step] = field(default_factory=dict)
    _activities: dict[str, int] = field(default_factory=dict)

    async def take(self, event: HistoryEvent) -> None:
        at = _time(event.event_time)
        if event.event_type in _ENDS:
            await self._end(event, at)
        elif event.event_type in _BEGINS:
            await self._begin(event, at)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            await self._start(event)
        elif event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
            await self._at_once(event, at)

    async def look_at(self, pending: PendingActivityInfo) -> None:
        """Take what Temporal tells of a step that has not ended: attempts are no events."""
        step = self.steps.get(self._activities.get(pending.activity_id, 0))
        if step is None or step.ended_at is not None:
            return
        is_due = pending.HasField("next_attempt_schedule_time") and pending.attempt > 1
        self.steps[step.id] = replace(
            step,
            status="retrying" if pending.attempt > 1 else "running",
            attempts=max(1, pending.attempt),
            error=await self._reason(pending.last_failure) if pending.attempt > 1 else None,
            next_attempt_at=_time(pending.next_attempt_schedule_time) if is_due else None,
        )

    async def _begin(self, event: HistoryEvent, at: datetime) -> None:
        kind: StepKind = "wait"
        name = "timer"
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            name = scheduled.activity_type.name
            kind = _KINDS.get(name, "step")
            self._activities[scheduled.activity_id] = event.event_id
        elif event.HasField("start_child_workflow_execution_initiated_event_attributes"):
            child = event.start_child_workflow_execution_initiated_event_attributes
            kind, name = "child", child.workflow_type.name
        text = await self._text(event.user_metadata.summary) or name.replace("_", " ")
        self.steps[event.event_id] = Step(event.event_id, kind, name, text, "running", at)

    async def _start(self, event: HistoryEvent) -> None:
        started = event.activity_task_started_event_attributes
        step = self.steps.get(started.scheduled_event_id)
        if step is not None and started.attempt > 1:
            reason = await self._reason(started.last_failure)
            self.steps[step.id] = replace(step, attempts=started.attempt, error=reason)

    async def _end(self, event: HistoryEvent, at: datetime) -> None:
        attributes, began, status = _ENDS[event.event_type]
        told = getattr(event, attributes)
        step = self.steps.get(getattr(told, began))
        if step is not None:
            failure = told.failure if "failure" in told.DESCRIPTOR.fields_by_name else None
            error = None if failure is None else await self._reason(failure)
            self.steps[step.id] = replace(
                step, status=status, ended_at=at, error=error or step.error
            )

    async def _at_once(self, event: HistoryEvent, at: datetime) -> None:
        """Take a step that was done where the workflow ran; its marker is all there is of it."""
        marker = event.marker_recorded_event_attributes
        if marker.marker_name != "core_local_activity":
            return
        failed = marker.HasField("failure")
        text = await self._text(event.user_metadata.summary) or "bookkeeping"
        self.steps[event.event_id] = Step(
            event.event_id,
            "step",
            "at once",
            text,
            "failed" if failed else "done",
            at,
            at,
            error=await self._reason(marker.failure) if failed else None,
        )

    async def _text(self, payload: Payload) -> str:
        if not payload.ByteSize():
            return ""
        (text,) = await self.client.data_converter.decode([payload], [str])
        return str(text)

    async def _reason(self, failure: Failure) -> str | None:
        if not failure.ByteSize():
            return None
        try:
            error = leaf_failure(await self.client.data_converter.decode_failure(failure))
        except PayloadsGoneError as gone:
            return gone.message
        return str(getattr(error, "message", error))


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
