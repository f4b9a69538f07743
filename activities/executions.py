"""How runs stand in Temporal, whatever their rows say."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowContinuedAsNewError,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHistoryEventFilterType,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.outcomes import Outcome, failed_outcome
from perdure.db.runs import Run, RunStatus

__all__ = ["execution_of", "outcome_of"]


async def execution_of(
    client: Client, run: Run, limit: timedelta
) -> WorkflowExecutionDescription | None:
    """Return the execution in which a run goes on, or ended; None where Temporal knows none.

    It is found by its workflow id: a run that continues as new or is retried goes on as another
    execution. Another run may have the id since, that of an action with the same key for example,
    or of a sync that was triggered twice within a second; then its own executions are followed.

    Args:
        client: Asks Temporal.
        run: The run.
        limit: Of a single question.

    Raises:
        RPCError: Temporal does not answer.
    """
    try:
        found = await client.get_workflow_handle(run.workflow_id).describe(rpc_timeout=limit)
        first = found.raw_description.workflow_execution_info.first_run_id
        if run.id not in (first, found.run_id) and run.temporal_run_id != found.run_id:
            found = await _last_of(client, run, limit)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return found


async def _last_of(client: Client, run: Run, limit: timedelta) -> WorkflowExecutionDescription:
    """Return the last execution of a run whose workflow id another run has by now."""
    run_id = run.temporal_run_id
    while True:
        handle = client.get_workflow_handle(run.workflow_id, run_id=run_id)
        found = await handle.describe(rpc_timeout=limit)
        if found.status is not WorkflowExecutionStatus.CONTINUED_AS_NEW:
            return found
        closing = handle.fetch_history_events(
            event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT, rpc_timeout=limit
        )
        (event,) = [event async for event in closing]
        continued = event.workflow_execution_continued_as_new_event_attributes
        run_id = continued.new_execution_run_id


async def outcome_of(
    client: Client, found: WorkflowExecutionDescription, limit: timedelta
) -> Outcome | None:
    """Return how an execution ended, None where it goes on, as another one perhaps.

    Raises:
        RPCError: Temporal does not answer.
    """
    if found.status is WorkflowExecutionStatus.RUNNING:
        return None
    if found.status is WorkflowExecutionStatus.COMPLETED:
        return Outcome(RunStatus.SUCCESS)
    handle = client.get_workflow_handle(found.id, run_id=found.run_id)
    try:
        await handle.result(follow_runs=False, rpc_timeout=limit)
    except WorkflowFailureError as failure:
        return failed_outcome(failure)
    except WorkflowContinuedAsNewError:
        return None
    return Outcome(RunStatus.SUCCESS)
