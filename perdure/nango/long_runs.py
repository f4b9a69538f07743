"""What lets a script run for long: places to go on from, and work in parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Self, TypeVar

from perdure.nango.values import CheckpointValue

__all__ = ["LongRunMethods"]

T = TypeVar("T")
ItemT = TypeVar("ItemT")


class LongRunMethods(ABC):
    """The part of the helper that keeps and divides long work."""

    @abstractmethod
    async def get_checkpoint(self) -> dict[str, CheckpointValue] | None:
        """Return what was saved last, None where nothing was, or it was cleared.

        A checkpoint belongs to the script, its variant and the connection. A run that fails
        leaves it as it is, so that the next one goes on from there.
        """

    @abstractmethod
    async def save_checkpoint(self, checkpoint: Mapping[str, CheckpointValue]) -> None:
        """Save where the next run goes on. What was written before is durable when it returns.

        In a sync whose history has become long it does not return: the run goes on in a new
        execution, in which the script starts again and reads its checkpoint. So save only what
        the script can go on from.

        Args:
            checkpoint: A flat mapping of strings to strings, numbers or booleans, at most 64 KiB
                and without credentials; it takes the place of the one before.

        Raises:
            HelperError: `invalid_checkpoint`, or `checkpoint_conflict`: another run has saved
                its own after this one read it.
        """

    @abstractmethod
    async def clear_checkpoint(self) -> None:
        """Forget the checkpoint, so that the next run starts from the beginning.

        Raises:
            HelperError: `checkpoint_conflict`, as `save_checkpoint`.
        """

    @abstractmethod
    async def each(
        self,
        items: Iterable[ItemT],
        fn: Callable[[Self, ItemT], Awaitable[T]],
        *,
        concurrency: int = 10,
    ) -> list[T]:
        """Call a function for every item, each in an execution with a history of its own.

        All of them belong to the run: counts and log lines are the run's. Modules are loaded
        anew for each, so the function sees no variable that the script has changed. A checkpoint
        that it saves is its item's own and lasts until the item is done.

        Args:
            items: JSON values or models, which become the type that the function declares.
            fn: An `async def fn(nango, item)` at the top level of the script or of a module of
                the project. What it returns must be JSON of at most 64 KiB.
            concurrency: How many items are worked on at a time, 1 to 500.

        Returns:
            What the function returned, in the order of the items.

        Raises:
            EachError: Items failed. The others were worked on; a retried run repeats only those
                that failed.
            HelperError: `invalid_step`, `invalid_item` or `invalid_options`.
        """
