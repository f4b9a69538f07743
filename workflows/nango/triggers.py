"""Actions and syncs that a script sets going."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic_core import PydanticSerializationError
from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from activities.actions import ActionActivities, ActionRef
    from activities.sync_commands import SyncCommand, SyncCommandActivities, SyncRef
    from perdure.ids import BASE_VARIANT, action_workflow_id
    from perdure.nango import HelperError, NamedSync
    from perdure.temporal.names import TaskQueue, WorkflowType, search_attributes
    from perdure.temporal.payloads import ActionInput, ActionResult
    from workflows.helper_errors import raise_run_error
    from workflows.nango.steps import HelperSteps
    from workflows.scripts import as_json
    from workflows.steps import shortened

__all__ = ["TriggerSteps"]


class TriggerSteps(HelperSteps):
    """`trigger_action`, `trigger_sync` and `start_sync`."""

    async def trigger_action(
        self,
        provider_config_key: str,
        connection_id: Any = None,
        action_name: str | None = None,
        input: Any = None,
    ) -> Any:
        """See base class."""
        if action_name is not None:
            return await self._action(provider_config_key, connection_id, action_name, input)
        # The short form: the name of the action and its input, for the run's own connection.
        value = input if connection_id is None else connection_id
        return await self._action(
            self.provider_config_key, self.connection_id, provider_config_key, value
        )

    async def trigger_sync(
        self,
        provider_config_key: str,
        connection_id: str,
        sync: str | NamedSync,
        *,
        reset: bool = False,
        empty_cache: bool = False,
    ) -> None:
        """See base class."""
        await self._command(
            SyncCommandActivities.trigger_sync,
            SyncCommand(
                environment_id=self._context.environment_id,
                integration=provider_config_key,
                connection_id=connection_id,
                syncs=(_sync_ref(sync),),
                restart="empty_cache" if empty_cache else "reset" if reset else None,
            ),
            "trigger",
        )

    async def start_sync(
        self,
        provider_config_key: str,
        syncs: Sequence[str | NamedSync],
        connection_id: str | None = None,
    ) -> None:
        """See base class."""
        if isinstance(syncs, str | Mapping):
            msg = "start_sync takes a list of syncs"
            raise HelperError(msg, code="invalid_options")
        await self._command(
            SyncCommandActivities.start_sync_schedule,
            SyncCommand(
                environment_id=self._context.environment_id,
                integration=provider_config_key,
                connection_id=connection_id,
                syncs=tuple(map(_sync_ref, syncs)),
            ),
            "start",
        )

    async def _command(
        self,
        activity: Callable[[Any, SyncCommand], Awaitable[None]],
        command: SyncCommand,
        verb: str,
    ) -> None:
        names = ", ".join(sync.name for sync in command.syncs) or "all syncs"
        whose = command.connection_id or "all connections"
        summary = f"{verb} {command.integration} / {names} for {whose}"
        if self._context.dry_run:
            await self.tell(f"A real run would {summary}.")
            return
        await self._lookup(activity, command, summary)

    async def _action(self, integration: str, connection_id: str, name: str, value: Any) -> Any:
        wanted = ActionRef(
            environment_id=self._context.environment_id,
            bundle=self._context.bundle,
            integration=integration,
            connection_id=connection_id,
            action=name,
            by_event=self._context.kind == WorkflowType.ON_EVENT,
        )
        try:
            plain, _ = as_json(value)
        except (PydanticSerializationError, ValueError) as error:
            msg = f"the input of {name!r} cannot be written as JSON: {error}"
            raise HelperError(msg, code="invalid_action_input") from error
        summary = f"{integration} / {name} for {connection_id}"
        prepared = await self._lookup(ActionActivities.prepare_action, wanted, f"find {summary}")
        workflow_id = action_workflow_id(self.environment_name, str(workflow.uuid4()))
        call = ActionInput(
            context=prepared.context.model_copy(
                update={
                    "workflow_id": workflow_id,
                    "started_at": workflow.now(),
                    "dry_run": self._context.dry_run,
                }
            ),
            input=plain,
            sealed=self.secrets.within(plain),
            keeps_record=True,
        )
        try:
            with self._under_way():
                result: ActionResult = await workflow.execute_child_workflow(
                    WorkflowType.ACTION,
                    args=[call, prepared.script],
                    id=workflow_id,
                    task_queue=TaskQueue.ACTIONS,
                    result_type=ActionResult,
                    # An action that was accepted is completed, whatever becomes of who asked.
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    static_summary=shortened(self.secrets.mask(summary)),
                    priority=Priority(fairness_key=f"{self.environment_name}/{connection_id}"[:64]),
                    search_attributes=search_attributes(
                        WorkflowType.ACTION,
                        self.environment_name,
                        integration=integration,
                        connection_id=connection_id,
                        script=name,
                        bundle=prepared.script.bundle,
                    ),
                )
        except ChildWorkflowError as error:
            raise_run_error(error)
        if result.sealed:
            # Which part of it is secret is known to the action alone.
            self.secrets.learn(result.output)
        return result.output


def _sync_ref(sync: str | NamedSync) -> SyncRef:
    if isinstance(sync, str):
        name, _, variant = sync.partition("::")
        return SyncRef(name=name, variant=variant or BASE_VARIANT)
    if isinstance(sync, Mapping) and isinstance(sync.get("name"), str):
        return SyncRef(name=sync["name"], variant=sync.get("variant") or BASE_VARIANT)
    msg = f"a sync is its name or {{'name', 'variant'}}, not {sync!r:.100}"
    raise HelperError(msg, code="invalid_options")
