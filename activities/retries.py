"""Lets a run that ended go on at the step where it failed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistory,
)
from temporalio.service import RPCError
from temporalio.worker import Replayer

from activities.action_turns import tell_turn
from activities.bundles import BundleCache, script_files
from activities.executions import execution_of
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.runs import LogLine, Run
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId
from perdure.scripts.bundle import ScriptKind
from perdure.temporal.external_storage import claimed_keys
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import ActionInput, Payload
from perdure.temporal.reset_point import failure_place, is_too_long, reset_point, until_task

__all__ = ["RetriedRun", "RetryActivities", "RetryInput"]

_KINDS = {
    WorkflowType.SYNC: ScriptKind.SYNC,
    WorkflowType.ACTION: ScriptKind.ACTION,
    WorkflowType.ON_EVENT: ScriptKind.ON_EVENT,
    WorkflowType.WEBHOOK: ScriptKind.SYNC,
}


_RPC_TIMEOUT = timedelta(seconds=10)


class RetryInput(Payload):
    """A run that is to go on.

    Attributes:
        bundle: The bundle that it executes from now on; None for the one it has.
    """

    environment_id: int
    run_id: str
    bundle: str | None = None


class RetriedRun(Payload):
    """A run that goes on.

    Attributes:
        execution_id: Temporal's id of the execution that goes on; the run keeps its own.
        event_id: Where in the history it does.
        bundle: The bundle that it executes.
    """

    execution_id: str
    event_id: int
    bundle: str | None


@dataclass(frozen=True, slots=True)
class _Ended:
    """The last execution of a run, and where it goes on."""

    description: WorkflowExecutionDescription
    history: WorkflowHistory
    event_id: int


class RetryActivities:
    """The step that retries a run.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        client: Reads and resets executions.
        replayer: Makes a replayer of the engine's workflows.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        client: Client,
        replayer: Callable[[], Replayer],
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._client = client
        self._replayer = replayer

    @activity.defn
    async def retry_run(self, retry: RetryInput) -> RetriedRun:
        """Let a run go on at the step that failed. What it did before stays done.

        Raises:
            NotFoundError: `unknown_run`; `run_history_gone`, Temporal has forgotten the run;
                `script_not_found`, the other bundle does not have its script.
            ConflictError: `run_not_ended`; `run_succeeded`; `run_superseded`, a later run of the
                same sync has started; `history_full`, its history got too long to go on with;
                `bundle_does_not_fit`, what the run did so far is not what the other bundle's
                script would have done. Nothing has changed then.
        """
        run = await self._database.runs.get(EnvironmentId(retry.environment_id), retry.run_id)
        ended = await self._ended(run)
        if not await self._database.runs.is_newest(run):
            raise _superseded(run)
        bundle = BundleHash(retry.bundle) if retry.bundle else run.bundle_hash
        if bundle is not None and bundle != run.bundle_hash:
            await self._exchange_script(run, ended, BundleHash(bundle))
        return await self._go_on(run, ended, bundle)

    async def _ended(self, run: Run) -> _Ended:
        found = await execution_of(self._client, run, _RPC_TIMEOUT)
        if found is None:
            msg = f"Temporal does not know the run {run.id} any more; start a new one."
            raise NotFoundError(msg, code="run_history_gone")
        handle = self._client.get_workflow_handle(run.workflow_id, run_id=found.run_id)
        history = await handle.fetch_history()
        if found.status is WorkflowExecutionStatus.RUNNING:
            msg = f"The run {run.id} has not ended."
            raise ConflictError(msg, code="run_not_ended")
        if found.status is WorkflowExecutionStatus.COMPLETED:
            msg = f"The run {run.id} has succeeded; there is nothing to retry."
            raise ConflictError(msg, code="run_succeeded")
        last, converter = history.events[-1], self._client.data_converter
        if await is_too_long(last, converter):
            msg = (
                f"The run {run.id} failed because its history got too long, and would only make it "
                "longer; start a new run. What it saved stays. A script whose runs are long calls "
                "nango.save_checkpoint in its loop, nango.each, or paginate(...).save."
            )
            raise ConflictError(msg, code="history_full")
        failed_at, failed_call = await failure_place(last, converter)
        event_id = reset_point(history.events, failed_at, failed_call)
        if event_id is None:
            msg = f"The run {run.id} ended before it did anything; start a new one."
            raise ConflictError(msg, code="run_not_begun")
        return _Ended(found, history, event_id)

    async def _exchange_script(self, run: Run, ended: _Ended, bundle: BundleHash) -> None:
        """Give the run the script of another bundle, if its history fits that.

        Raises:
            ConflictError: `bundle_does_not_fit`; the run keeps the script it had.
        """
        overrides = self._database.script_overrides
        stored = await self._bundles.get(bundle)
        kind = _KINDS[WorkflowType(run.kind)]
        integration = (await self._bundles.config(bundle)).integration(run.integration or "")
        older = integration is not None and run.script in integration.post_connection_scripts
        files = script_files(stored, run.integration or "", kind, run.script, older=older)
        payload = self._client.data_converter.payload_converter.to_payloads([files])[0]
        before = await overrides.script_override(run.workflow_id)
        await overrides.set(run.environment_id, run.workflow_id, payload.SerializeToString())
        replayed = await self._replayer().replay_workflow(
            until_task(ended.history, ended.event_id), raise_on_replay_failure=False
        )
        if replayed.replay_failure is not None:
            await overrides.set(run.environment_id, run.workflow_id, before)
            msg = (
                f"The run {run.id} cannot go on with the bundle {bundle[:12]}: up to the step that "
                "failed its script would have done something else. Retry it with its own bundle, "
                "or start a new run."
            )
            raise ConflictError(msg, code="bundle_does_not_fit")

    async def _go_on(self, run: Run, ended: _Ended, bundle: str | None) -> RetriedRun:
        is_queued = await self._reopen(run, ended, bundle)
        # The new execution has a new beginning, and what it did before in its history.
        named = set[str]().union(
            *(claimed_keys(event.SerializeToString()) for event in ended.history.events)
        )
        await self._database.blobs.renew(named, utcnow())
        await self._note(run, ended, bundle)
        answer = await self._client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self._client.namespace,
                workflow_execution=WorkflowExecution(
                    workflow_id=run.workflow_id, run_id=ended.description.run_id
                ),
                reason="retried by a user",
                workflow_task_finish_event_id=ended.event_id,
                # The same for every attempt of this step, so that it resets once.
                request_id=f"{activity.info().workflow_run_id}/{ended.description.run_id}",
                reset_reapply_exclude_types=[
                    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_CANCEL_REQUEST
                ],
                identity=self._client.identity,
            )
        )
        await self._database.runs.moved(run.id, answer.run_id)
        if is_queued:
            # For one that had not got its turn when it ended; it also asks after a while.
            with contextlib.suppress(RPCError):
                await tell_turn(self._client, run.workflow_id)
        return RetriedRun(execution_id=answer.run_id, event_id=ended.event_id, bundle=bundle)

    async def _reopen(self, run: Run, ended: _Ended, bundle: str | None) -> bool:
        """Note that the run goes on; returns whether it is an action that nobody waits for.

        Such an action has its turn at once.

        Raises:
            ConflictError: `run_superseded`.
        """
        call = await self._queued_call(run, ended)
        async with self._database.transaction() as conn:
            if not await self._database.runs.reopen(run, bundle, conn=conn):
                raise _superseded(run)
            if call is not None:
                await self._database.action_queue.resume(
                    run.workflow_id,
                    run.environment_id,
                    ConnectionKey(call.context.connection_key),
                    ordered=call.ordered,
                    conn=conn,
                )
        return call is not None

    async def _queued_call(self, run: Run, ended: _Ended) -> ActionInput | None:
        if run.kind != WorkflowType.ACTION:
            return None
        started = ended.history.events[0].workflow_execution_started_event_attributes
        call: ActionInput
        (call,) = await self._client.data_converter.decode(
            started.input.payloads[:1], [ActionInput]
        )
        return call if call.queued else None

    async def _note(self, run: Run, ended: _Ended, bundle: str | None) -> None:
        why = (run.error or {}).get("message") or run.status
        other = f" with bundle {bundle[:12]}" if bundle and bundle != run.bundle_hash else ""
        line = LogLine(
            at=utcnow(),
            level="info",
            message=f"retried{other} at the step where it ended: {why}",
            step_id=f"retry/{ended.description.run_id}",
        )
        await self._database.runs.append_logs(run.id, [line])


def _superseded(run: Run) -> ConflictError:
    msg = f"A later run of {run.script!r} has started; retry that one, or start a new one."
    return ConflictError(msg, code="run_superseded")
