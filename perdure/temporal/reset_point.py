"""Where in its history an ended run goes on: at the step that failed.

What stands before the point is replayed and not done again; the step that failed and what came
after it are done anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from perdure.temporal.failures import HISTORY_LIMIT, leaf_failure

__all__ = ["failure_place", "is_too_long", "reset_point", "until_task"]

_TASK_ENDS = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
    }
)


async def failure_place(
    last: HistoryEvent, converter: DataConverter
) -> tuple[int | None, str | None]:
    """Return `failed_at` and `failed_call` of `reset_point` as a run's last event tells them."""
    leaf = await _failure(last, converter)
    place = _place(leaf) if leaf else {}
    return place.get("failed_at"), place.get("failed_call")


async def is_too_long(last: HistoryEvent, converter: DataConverter) -> bool:
    """Say whether a run's last event tells that its history got too long to go on with.

    The script did not raise that: what it raises of an item's history names a place.
    """
    leaf = await _failure(last, converter)
    return leaf is not None and leaf.type == HISTORY_LIMIT and not _place(leaf)


def until_task(history: WorkflowHistory, event_id: int) -> WorkflowHistory:
    """Return a history up to the workflow task that is done anew, as a worker will get it.

    Args:
        history: The whole of it.
        event_id: From `reset_point`.
    """
    started = next(
        event.event_id
        for event in reversed(history.events[:event_id])
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
    )
    return WorkflowHistory(history.workflow_id, history.events[:started])


def reset_point(
    events: Sequence[HistoryEvent], failed_at: int | None, failed_call: str | None = None
) -> int | None:
    """Return the event to reset a run to, None where it ended before it did anything.

    Args:
        events: The history of the run's last execution, whole.
        failed_at: Length of the history when the script's error left the script, that is the
            event in which that workflow task started; None when the script raised nothing.
        failed_call: What the ids of the items begin with where items of `nango.each` failed it.
            They ended at any time before; those that did not fail are found and not repeated.
    """
    by_id = {event.event_id: event for event in events}
    item = _first_failed_item(events, by_id, failed_call) if failed_call else None
    if item is not None:
        return item
    if failed_at is None:
        step = _last_failed_step(events)
        return step or _last_task_end(_until_cancelled(events))
    started = by_id.get(failed_at)
    if started is None or started.event_type != EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
        return _last_task_end(events)
    # What failed since the task before is what the script heard of, and what it failed with.
    heard = [e for e in events if _previous_task_end(events, failed_at) < e.event_id < failed_at]
    return _last_failed_step(heard, by_id) or _end_of_task(events, failed_at)


async def _failure(last: HistoryEvent, converter: DataConverter) -> ApplicationError | None:
    if last.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
        return None
    failure = await converter.decode_failure(
        last.workflow_execution_failed_event_attributes.failure
    )
    leaf = leaf_failure(failure)
    return leaf if isinstance(leaf, ApplicationError) else None


def _place(failure: ApplicationError) -> Mapping[str, Any]:
    place = failure.details[1] if len(failure.details) > 1 else None
    return place if isinstance(place, dict) else {}


def _last_failed_step(
    events: Sequence[HistoryEvent], by_id: Mapping[int, HistoryEvent] | None = None
) -> int | None:
    """Return the workflow task that asked for the step which failed last."""
    by_id = by_id or {event.event_id: event for event in events}
    for event in reversed(events):
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                asked = event.activity_task_failed_event_attributes.scheduled_event_id
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                asked = event.activity_task_timed_out_event_attributes.scheduled_event_id
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
                asked = event.child_workflow_execution_failed_event_attributes.initiated_event_id
            case _:
                continue
        return _asked_in(by_id[asked])
    return None


def _first_failed_item(
    events: Sequence[HistoryEvent], by_id: Mapping[int, HistoryEvent], call: str
) -> int | None:
    """Return the workflow task that asked for the first of a call's items that failed."""
    asked: list[int] = []
    for event in events:
        match event.event_type:
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
                failed = event.child_workflow_execution_failed_event_attributes
                ended = (failed.workflow_execution.workflow_id, failed.initiated_event_id)
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
                stopped = event.child_workflow_execution_canceled_event_attributes
                ended = (stopped.workflow_execution.workflow_id, stopped.initiated_event_id)
            case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
                killed = event.child_workflow_execution_terminated_event_attributes
                ended = (killed.workflow_execution.workflow_id, killed.initiated_event_id)
            case _:
                continue
        if ended[0].startswith(call):
            asked.append(_asked_in(by_id[ended[1]]))
    return min(asked, default=None)


def _asked_in(event: HistoryEvent) -> int:
    if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        return event.activity_task_scheduled_event_attributes.workflow_task_completed_event_id
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    return attributes.workflow_task_completed_event_id


def _previous_task_end(events: Sequence[HistoryEvent], before: int) -> int:
    ends = (e.event_id for e in events if e.event_type in _TASK_ENDS and e.event_id < before)
    return max(ends, default=0)


def _end_of_task(events: Sequence[HistoryEvent], started: int) -> int | None:
    return next(
        (e.event_id for e in events if e.event_type in _TASK_ENDS and e.event_id > started), None
    )


def _last_task_end(events: Sequence[HistoryEvent]) -> int | None:
    return next((e.event_id for e in reversed(events) if e.event_type in _TASK_ENDS), None)


def _until_cancelled(events: Sequence[HistoryEvent]) -> Sequence[HistoryEvent]:
    for index, event in enumerate(events):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
            return events[:index]
    return events
