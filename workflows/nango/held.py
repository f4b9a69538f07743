"""The helper of webhooks that are handled together.

A script that does nothing but save, update and delete records and log has no need of a step for
each of these: they are held back until it has ended, and done at once. Where it asks for more it
does not hear back, and whoever runs it lets it begin anew in an execution of its own. Nothing has
happened then: what is held back is dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.common import Priority
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from pydantic_core import from_json, to_json
    from typing_extensions import override

    from activities.records import BatchInput, BatchOutcome, BatchVerb
    from activities.runs import LogEntry
    from activities.webhook_batches import HeldWrite
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext
    from workflows.nango.sync import DurableSync

__all__ = ["HeldSync"]

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


class HeldSync(DurableSync):
    """Holds back what a script writes.

    Args:
        context: The run.
        priority: As that of other helpers; nothing is asked for with it.

    Attributes:
        lines: What the script logged.
        needs_own_run: Whether the script has asked for what cannot be held back.
        writes: What it wrote, in order.
    """

    def __init__(self, context: RunContext, *, priority: Priority) -> None:
        super().__init__(context, limit=policies.WEBHOOK_LIMIT, priority=priority)
        self.lines: list[LogEntry] = []
        self.needs_own_run = False
        self.writes: list[HeldWrite] = []

    @override
    async def _step(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        argument: ArgumentT,
        summary: str,
        policy: ActivityConfig = policies.BOOKKEEPING,
        *,
        observes: bool = True,
    ) -> ResultT:
        if self.needs_own_run or not isinstance(argument, BatchInput):
            await self._unhalted()
        write = HeldWrite(
            verb=BatchVerb(activity.__name__),
            model=cast(BatchInput, argument).model,
            # As a step would have got them now: the script may go on and change what it gave.
            records=from_json(to_json(cast(BatchInput, argument).records)),
        )
        self.writes.append(write)
        # A batch that turns out to be remarkable is not written: it has a run of its own.
        return cast(ResultT, BatchOutcome(counts={}))

    @override
    def _has(self, change: str) -> bool:
        # Every batch is held back as it is; there is nothing to be fetched.
        return False

    async def _unhalted(self) -> None:
        # Not an error, which a script could catch.
        self.needs_own_run = True
        await workflow.wait_condition(lambda: False)

    @override
    async def _write_log(self, batch: int, lines: Sequence[LogEntry]) -> None:
        self.lines += lines
