"""The `action` workflow: one call of one action."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import ActionInput, ActionResult, ScriptFiles
    from workflows.nango import DurableAction
    from workflows.scripts import run_script

__all__ = ["RunAction"]


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
            ScriptError: The script failed; the failure names its file and line.
        """
        context = call.context.model_copy(update={"run_id": workflow.info().run_id})
        nango = DurableAction(
            context,
            limit=policies.ACTION_LIMIT,
            priority=Priority(fairness_key=f"{context.environment}/{context.connection_id}"[:64]),
        )
        try:
            output = await run_script(
                script, "run_action", nango, call.input, mask=nango.secrets.mask
            )
        except (Exception, asyncio.CancelledError):
            await nango.close()
            raise
        await nango.close()
        return ActionResult(output=output, sealed=nango.secrets.within(output))
