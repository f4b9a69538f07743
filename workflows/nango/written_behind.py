"""Records that are written behind the script, in as few steps as possible.

What a script hands over waits while an earlier batch is being written; what is saved of the same
model meanwhile goes along. The records of a model are written in the order in which they were
handed over, so what comes of it is what would have come of a step for each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.records import BatchVerb
    from perdure.nango import HelperError
    from workflows.script_place import asked_from, place_in_script

__all__ = [
    "FORMER_LIMITS",
    "LIMITS",
    "Batch",
    "Chunk",
    "Limits",
    "WriteBatch",
    "WriteBehind",
    "WriteTo",
]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is written at once, and how much waits.

    How many steps write what a script saves depends on it, so a run keeps those with which it has
    begun to write.

    Attributes:
        records: Most records of a batch.
        size: Most bytes of a batch.
        unsaved: Most bytes that are being written or wait for it.
    """

    records: int
    size: int
    unsaved: int


FORMER_LIMITS = Limits(records=5_000, size=4 * 1024 * 1024, unsaved=8 * 1024 * 1024)
"""Those of runs that have begun to write when batches were smaller."""

LIMITS = Limits(records=8_000, size=6 * 1024 * 1024, unsaved=10 * 1024 * 1024)
"""A step that writes goes through Temporal, which costs as much as some hundred records."""


@dataclass(frozen=True, slots=True)
class WriteTo:
    """What is done to records of a model.

    Attributes:
        not_after: See `activities.records.BatchInput`.
    """

    verb: BatchVerb
    model: str
    not_after: int | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records that were handed over at once.

    Attributes:
        lines: What `bulk` of `activities.records.BatchInput` has of them.
        ids: Their ids; one may come more than once.
        size: Bytes of the lines.
    """

    lines: tuple[bytes, ...]
    ids: Collection[str]
    size: int


@dataclass(slots=True, eq=False)
class Batch:
    """Records that are written at once.

    Attributes:
        number: Which batch it is, counted from 1.
        place: Where in the script the first of them were handed over.
    """

    to: WriteTo
    chunks: list[Chunk] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    size: int = 0
    number: int = 0
    place: str | None = None

    def takes(self, to: WriteTo, chunk: Chunk, limits: Limits) -> bool:
        """Say whether records can go along without changing what comes of it."""
        return (
            to == self.to
            and len(self.ids) + len(chunk.ids) <= limits.records
            and self.size + chunk.size <= limits.size
            # A record that is saved twice is changed twice.
            and self.ids.isdisjoint(chunk.ids)
        )

    def add(self, chunk: Chunk) -> None:
        """Take records along."""
        self.place = self.place or place_in_script()
        self.chunks.append(chunk)
        self.ids.update(chunk.ids)
        self.size += chunk.size


WriteBatch: TypeAlias = Callable[[Batch], Awaitable[None]]


class WriteBehind:
    """Takes records and writes them.

    Args:
        write: Writes a batch.
        failed: Told of a failure, with how many records that were handed over later are dropped.

    Attributes:
        limits: How much is written at once, and waits.
        failure: Why a batch could not be written; nothing is written after it.
    """

    def __init__(
        self, write: WriteBatch, failed: Callable[[HelperError, Batch, int], None]
    ) -> None:
        self._write = write
        self._failed = failed
        self._waiting: dict[str, Batch] = {}
        self._under_way: Batch | None = None
        self._batches = 0
        self._writer: asyncio.Task[None] | None = None
        self.limits = LIMITS
        self.failure: HelperError | None = None

    def takes(self, to: WriteTo, chunk: Chunk) -> bool:
        """Say whether there is room for records; there is after a while."""
        size = sum(batch.size for batch in self._unwritten())
        if size and size + chunk.size > self.limits.unsaved:
            return False
        batch = self._waiting.get(to.model)
        return batch is None or batch.takes(to, chunk, self.limits)

    def add(self, to: WriteTo, chunk: Chunk) -> None:
        """Take records that there is room for."""
        self._waiting.setdefault(to.model, Batch(to)).add(chunk)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())

    async def settled(self) -> None:
        """Wait until what was handed over so far is written, or nothing will be any more."""
        before = self._unwritten()
        if before:
            await workflow.wait_condition(
                lambda: not any(batch in before for batch in self._unwritten())
            )

    def _unwritten(self) -> list[Batch]:
        under_way = [] if self._under_way is None else [self._under_way]
        return [*under_way, *self._waiting.values()]

    async def _write_all(self) -> None:
        while self._waiting:
            # Until everybody else waits, too: what they are about to save goes along.
            await workflow.wait_condition(lambda: True)
            self._under_way = batch = self._waiting.pop(next(iter(self._waiting)))
            self._batches += 1
            batch.number = self._batches
            try:
                with asked_from(batch.place):
                    await self._write(batch)
            except HelperError as error:
                self._give_up(error, batch)
            except BaseException:
                # Nobody may wait for what will not come.
                self.failure = HelperError("The records could not be written", code="server_error")
                self._waiting.clear()
                raise
            finally:
                self._under_way = None

    def _give_up(self, error: HelperError, batch: Batch) -> None:
        self.failure = error
        dropped = sum(len(waiting.ids) for waiting in self._waiting.values())
        self._waiting.clear()
        self._failed(error, batch, dropped)
