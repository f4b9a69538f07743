"""The `action` workflow: one call of one action."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json
from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import ActionInput, ActionResult, ScriptFiles
    from workflows.nango import DurableAction
    from workflows.scripts import EntryPoint, load_entry_point, script_border
    from workflows.validation import Validation

__all__ = ["RunAction"]

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


@workflow.defn(name=WorkflowType.ACTION)
class RunAction:
    """Executes an action's script and returns what it returns.

    The script's files come with the call, and whoever started it notes the run: the workflow
    costs no step of its own.
    """

    @workflow.run
    async def run(self, call: ActionInput, script: ScriptFiles) -> ActionResult:
        """Run the action once.

        Raises:
            ScriptError: Input or output do not fit their models, or the script failed; the
                failure names its file and line.
        """
        # The run keeps its id, and may be given another script, where it is retried.
        own = {"run_id": workflow.info().first_execution_run_id, "bundle": script.bundle}
        context = call.context.model_copy(update=own)
        nango = DurableAction(
            context,
            limit=policies.ACTION_LIMIT,
            priority=Priority(fairness_key=f"{context.environment}/{context.connection_id}"[:64]),
        )
        try:
            with script_border(script, nango.secrets):
                validation = nango.validation = Validation(context, script, nango.warn)
                action = load_entry_point(script, "run_action")
                await validation.check(
                    context.input, call.input, what="input", code="invalid_action_input"
                )
                output = _as_json(await _call(action, nango, call.input))
                await validation.check(
                    context.output, output, what="output", code="invalid_action_output"
                )
        except (Exception, asyncio.CancelledError):
            await nango.end()
            raise
        await nango.end()
        return ActionResult(output=output, sealed=nango.secrets.within(output))


def _as_json(value: Any) -> Any:
    """Return a script's value as the JSON it travels as, without fields a model never got.

    Raises:
        PydanticSerializationError: It is no JSON.
    """
    return from_json(_ANY.dump_json(value, by_alias=True, exclude_unset=True))


async def _call(action: EntryPoint, nango: DurableAction, value: Any) -> Any:
    """Call the script; one that needs no input may leave the parameter out."""
    if len(inspect.signature(action).parameters) == 1:
        return await action(nango)
    return await action(nango, value)
