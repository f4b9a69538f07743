"""What travels between a script that calls `nango.each` and the executions of its items."""

from __future__ import annotations

from typing import Any, TypeVar

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from perdure.ids import item_workflow_prefix
from perdure.temporal.failures import describe_failure
from perdure.temporal.payloads import Payload, RunContext, RunProgress, RunState

__all__ = ["EachActivities", "EachCall", "ItemInput", "ItemResult", "ItemsInput", "ItemsResult"]

ResultT = TypeVar("ResultT")


class EachCall(Payload):
    """A call of `nango.each`.

    Attributes:
        context: The run; its bundle is the one whose function is called.
        state: What the helper of an item begins with.
        file: File of the function.
        function: Its name.
        total: How many items the call has.
        scope: Names the call within the run.
        limit_s: Seconds a step goes on trying.
        secrets: The run's secrets, where an item carries one.
    """

    context: RunContext
    state: RunState
    file: str
    function: str
    total: int
    scope: str
    limit_s: float
    secrets: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """What the ids of its items' workflows begin with."""
        return item_workflow_prefix(self.context.run_id, self.scope)


class ItemInput(Payload):
    """One item of a call; `index` is its place, counted from 0."""

    call: EachCall
    item: Any = None
    index: int

    def holds_secret(self) -> bool:
        """See base class."""
        return bool(self.call.secrets)


class ItemsInput(Payload):
    """Items that follow one another.

    Attributes:
        call: Their call.
        items: The items.
        first: Place of the first of them, counted from 0.
        concurrency: How many are worked on at a time.
    """

    call: EachCall
    items: list[Any]
    first: int = 0
    concurrency: int

    def holds_secret(self) -> bool:
        """See base class."""
        return bool(self.call.secrets)


class ItemResult(Payload):
    """What became of an item.

    Attributes:
        value: What the function returned.
        progress: What it did.
        secrets: Secrets that the value carries.
    """

    value: Any = None
    progress: RunProgress = RunProgress()
    secrets: tuple[str, ...] = ()

    def holds_secret(self) -> bool:
        """See base class."""
        return bool(self.secrets)


class ItemsResult(Payload):
    """What became of items, in their order; the attributes mean what those of one item mean."""

    values: list[Any]
    progress: RunProgress = RunProgress()
    secrets: tuple[str, ...] = ()

    def holds_secret(self) -> bool:
        """See base class."""
        return bool(self.secrets)


class EachActivities:
    """Steps of `nango.each`.

    Args:
        client: Reads the results of workflows.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn
    async def item_result(self, workflow_id: str) -> ItemResult:
        """Return what an item came to that the run has worked on before it was retried.

        Raises:
            ApplicationError: It failed.
        """
        return await self._result(workflow_id, ItemResult)

    @activity.defn
    async def items_result(self, workflow_id: str) -> ItemsResult:
        """Return the same of items that were worked on together.

        Raises:
            ApplicationError: One of them failed.
        """
        return await self._result(workflow_id, ItemsResult)

    async def _result(self, workflow_id: str, kind: type[ResultT]) -> ResultT:
        handle = self._client.get_workflow_handle(workflow_id, result_type=kind)
        try:
            result: ResultT = await handle.result()
        except WorkflowFailureError as error:
            facts = describe_failure(error)
            raise ApplicationError(
                facts["message"], facts, type=facts["type"], non_retryable=True
            ) from error
        return result
