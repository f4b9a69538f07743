"""What a write of records is told, and what it tells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from perdure.ids import BASE_VARIANT, ConnectionKey

__all__ = [
    "NOBODY",
    "BatchNote",
    "BatchResult",
    "CursorMove",
    "ModelCounts",
    "MovedCursor",
    "RecordSet",
    "Writer",
    "total_of",
]


class ModelCounts(TypedDict):
    """What a write, or a whole run, did to the records of one model."""

    added: int
    updated: int
    deleted: int
    unchanged: int


def total_of(parts: Iterable[ModelCounts]) -> ModelCounts:
    """Return what several writes did together."""
    total = ModelCounts(added=0, updated=0, deleted=0, unchanged=0)
    for part in parts:
        total["added"] += part["added"]
        total["updated"] += part["updated"]
        total["deleted"] += part["deleted"]
        total["unchanged"] += part["unchanged"]
    return total


@dataclass(frozen=True, slots=True)
class RecordSet:
    """The records of one model of one connection, in one variant of a sync."""

    connection_key: ConnectionKey
    model: str
    variant: str = BASE_VARIANT


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes.

    Attributes:
        run_id: The run, None outside of runs.
        sync: Name of the sync whose run it is. Only what the sync itself saves says that it saw
            anything at all.
        not_after: Records that others changed after this place in the stream are left alone,
            None where they are not.
    """

    run_id: str | None = None
    sync: str | None = None
    not_after: int | None = None


NOBODY = Writer()
"""Whoever writes from outside of runs."""


@dataclass(frozen=True, slots=True)
class CursorMove:
    """A cursor of the writer's run that moves with a write.

    Attributes:
        workflow_id: See `perdure.db.run_cursors.CursorKey`.
        number: As well.
        claimed_at: See `perdure.db.run_cursors.Claim`.
        attempt: As well.
        state: Where it moves to, encrypted; None is the end.
    """

    workflow_id: str
    number: int
    claimed_at: datetime
    attempt: int
    state: bytes | None


@dataclass(frozen=True, slots=True)
class BatchNote:
    """A batch of the writer's run that is noted with a write: see `perdure.db.run_batches`.

    Attributes:
        workflow_id: The run's workflow, or that of one of its items.
        name: What the batch is known by when it is written again, by a retried run or because its
            answer was lost.
        claimed_at: When Temporal gave the attempt out that writes it.
        attempt: Its number within the step.
    """

    workflow_id: str
    name: str
    claimed_at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class MovedCursor:
    """Where a cursor is after a write.

    Attributes:
        pages: How many pages are saved.
        counts: What became of their records.
    """

    pages: int
    counts: ModelCounts


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a write did, by id.

    Attributes:
        added: New, or back after a deletion.
        updated: There before, with another payload.
        deleted: There before, now marked as deleted.
        unchanged: Already as the batch says.
        unknown: Deleted without having been there; they stand in the stream as deleted.
        ignored: Left alone, because others changed them, or not there to be updated.
        duplicates: Came again in the same batch and were left out.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()

    @property
    def counts(self) -> ModelCounts:
        """The numbers that `RunStore.add_counts` takes."""
        return ModelCounts(
            added=len(self.added),
            updated=len(self.updated),
            deleted=len(self.deleted),
            unchanged=len(self.unchanged),
        )
