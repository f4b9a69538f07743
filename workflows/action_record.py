"""What an action does about itself: its row, its turn, and what is told of its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority

with workflow.unsafe.imports_passed_through():
    from activities.action_queue import ActionQueueActivities, TurnInput
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.dry_run import begin_dry_run, finish_dry_run
    from workflows.run_record import RunRecord
    from workflows.steps import run_step
    from workflows.webhooks import start_deliveries

__all__ = ["DryRunRecord", "QueuedActionRecord"]

# Whoever ends tells the next one; this is for the case that he died before he could.
_FIRST_DOUBT = timedelta(seconds=15)
_LONGEST_DOUBT = timedelta(minutes=10)


class DryRunRecord(RunRecord):
    """The same for a dry run.

    Args:
        context: The run.
        priority: Fairness key of its steps.
        state: Says what its script has left.
    """

    def __init__(
        self, context: RunContext, priority: Priority, state: Callable[[], RunState]
    ) -> None:
        super().__init__(context, priority)
        self._state = state

    async def start(self) -> None:
        """Note that the run began."""
        await begin_dry_run(self._context)

    async def finish(self, error: BaseException | None) -> None:
        """Note how it ended, and what it would have done."""
        status = self._finish(error).status
        await finish_dry_run(self._context, self._state(), status, error)


class QueuedActionRecord(RunRecord):
    """The same for an asynchronous action, which waits for its turn first.

    Args:
        context: The run.
        priority: Fairness key of its steps.
        ordered: Whether it waits until the connection's earlier ordered ones have ended.
        has_turn: Says whether the signal has come.
    """

    def __init__(
        self,
        context: RunContext,
        priority: Priority,
        *,
        ordered: bool,
        has_turn: Callable[[], bool],
    ) -> None:
        super().__init__(context, priority)
        self._ordered = ordered
        self._has_turn = has_turn

    async def start(self) -> None:
        """Note that the run began, and wait until it may go on."""
        if await self._take_turn(again=False):
            return
        patience = _FIRST_DOUBT
        while True:
            try:
                await workflow.wait_condition(
                    self._has_turn, timeout=patience, timeout_summary="waiting for its turn"
                )
            except TimeoutError:
                if await self._take_turn(again=True):
                    return
                patience = min(2 * patience, _LONGEST_DOUBT)
            else:
                return

    async def finish(self, error: BaseException | None) -> None:
        """Note how it ended, and have the next one and the application told."""
        finish = self._finish(error)
        ended = await run_step(
            ActionQueueActivities.end_action,
            finish,
            summary=f"finish: {finish.status}",
            policy=policies.BOOKKEEPING,
            priority=self._priority,
        )
        await start_deliveries(self._context.environment, ended.deliveries)

    async def _take_turn(self, *, again: bool) -> bool:
        taken = await run_step(
            ActionQueueActivities.take_turn,
            TurnInput(context=self._context, ordered=self._ordered, again=again),
            summary=f"start {self._context.script} for {self._context.connection_id}",
            policy=policies.BOOKKEEPING,
            priority=self._priority,
        )
        return taken.admitted or self._has_turn()
