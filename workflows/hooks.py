"""Runs hooks one after another, as children of what happens to their connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import exceptions, workflow
from temporalio.common import Priority
from temporalio.exceptions import ChildWorkflowError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.locks import LockActivities
    from activities.runs import FinishRunInput, RunActivities, RunStatus
    from perdure.ids import event_workflow_id
    from perdure.temporal import policies
    from perdure.temporal.failures import describe_failure
    from perdure.temporal.names import TaskQueue, WorkflowType, search_attributes
    from perdure.temporal.payloads import EventInput, RunContext
    from workflows.steps import run_step, shortened

__all__ = ["FailedHook", "run_hook", "run_hooks"]


class FailedHook:
    """A hook that failed.

    Attributes:
        run_id: Its run.
        error: Why, as `describe_failure` gives it.
    """

    def __init__(self, run_id: str, error: dict[str, Any]) -> None:
        self.run_id = run_id
        self.error = error


async def run_hooks(hooks: Sequence[EventInput]) -> None:
    """Run hooks whose failure changes nothing: it stands in their runs, and is told here."""
    failed: list[str] = []
    for hook in hooks:
        failure = await run_hook(hook)
        if failure is not None:
            name, message = hook.context.script, failure.error["message"]
            failed.append(f"{hook.event} / {name} failed (run {failure.run_id}): {message}")
            workflow.set_current_details("\n".join(failed))
            workflow.logger.warning("hook failed", extra={"run_id": failure.run_id})


async def run_hook(hook: EventInput) -> FailedHook | None:
    """Run a hook to its end; returns its failure, None where it has succeeded.

    Raises:
        ChildWorkflowError: Whoever runs the hook is being cancelled, and the hook with it.
    """
    context = hook.context
    workflow_id = event_workflow_id(
        context.environment,
        context.integration,
        context.connection_id,
        event=hook.event,
        script=context.script,
        key=str(workflow.uuid4()),
    )
    context = context.model_copy(update={"workflow_id": workflow_id, "started_at": workflow.now()})
    child = await workflow.start_child_workflow(
        WorkflowType.ON_EVENT,
        hook.model_copy(update={"context": context}),
        id=workflow_id,
        task_queue=TaskQueue.ACTIONS,
        # The server ends what does not end by itself, whatever the script does about it.
        execution_timeout=timedelta(seconds=hook.limit),
        parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
        static_summary=shortened(
            f"{context.integration} / {context.script} on {hook.event} for {context.connection_id}"
        ),
        priority=Priority(fairness_key=f"{context.environment}/{context.connection_id}"[:64]),
        search_attributes=search_attributes(
            WorkflowType.ON_EVENT,
            context.environment,
            integration=context.integration,
            connection_id=context.connection_id,
            script=context.script,
            bundle=context.bundle,
        ),
    )
    run_id = child.first_execution_run_id or ""
    try:
        await child
    except ChildWorkflowError as error:
        if is_cancelled_exception(error) and workflow.cancellation_reason() is not None:
            raise
        if isinstance(error.cause, exceptions.TimeoutError):
            return await _timed_out(context.model_copy(update={"run_id": run_id}), hook.limit)
        return FailedHook(run_id, describe_failure(error))
    return None


async def _timed_out(context: RunContext, limit: float) -> FailedHook:
    """Note what the run could not: it was ended by the server."""
    error = {
        "type": "hook_timeout",
        "message": f"{context.script} took longer than the {limit:g} seconds it may take",
    }
    await run_step(
        RunActivities.finish_run,
        FinishRunInput(context=context, status=RunStatus.TIMEOUT, error=error),
        summary=f"{context.script} took too long",
        policy=policies.BOOKKEEPING,
    )
    await run_step(
        LockActivities.release_all_locks,
        context.run_id,
        summary=f"release the locks of {context.script}",
        policy=policies.BOOKKEEPING,
    )
    return FailedHook(context.run_id, error)
