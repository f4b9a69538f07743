"""Batches of records, written to the records cache."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Any

from temporalio import activity

from activities.run_counts import count_records
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.record_batches import (
    BatchNote,
    BatchResult,
    CursorMove,
    MovedCursor,
    RecordSet,
    Writer,
    total_of,
)
from perdure.errors import InvalidInputError
from perdure.ids import ConnectionKey
from perdure.records.canonical import HASH_BYTES, to_json
from perdure.records.prepare import (
    PreparedBatch,
    PreparedDeletion,
    PreparedUpdate,
    prepare_batch,
    prepare_deletion,
    prepare_update,
)
from perdure.temporal.bulk import BulkPayload, decoded
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import Payload, RunContext

__all__ = [
    "RECORDS_PER_BATCH",
    "BatchInput",
    "BatchOutcome",
    "BatchVerb",
    "PreparedWrite",
    "RecordActivities",
    "duplicates_text",
    "ignored_text",
    "prepared_lines",
]


RECORDS_PER_BATCH = 1_000
"""How many records are prepared at once, and written by one statement where they are not yet."""

_NAMED_DUPLICATES = 10


class BatchVerb(StrEnum):
    """What a batch does; the names of the steps that do it."""

    SAVE = "batch_save"
    UPDATE = "batch_update"
    DELETE = "batch_delete"


class BatchInput(BulkPayload):
    """Records of one model that a script has handed over, some at once and others after them.

    Attributes:
        bulk: For each time a list of records; of prepared ones `prepared_lines`.
        prepared: Whether the script's worker has prepared them to be saved.
        records: What a worker of an earlier time has put here.
        sealed: Whether a record carries a secret of the connection.
        not_after: Records that others changed after this place in the stream are left alone,
            None where they are not.
        number: Which batch of the workflow it is, counted from 1; 0 where nobody counts.
    """

    context: RunContext
    model: str
    records: list[Any] = []
    sealed: bool = False
    not_after: int | None = None
    number: int = 0
    prepared: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed

    def statements(self) -> Iterator[list[Any]]:
        """Yield the records, as many at a time as one statement writes.

        What a script has saved at once stays together: of records of the same id the first counts.

        Raises:
            InvalidInputError: `invalid_record`, one is nested too deeply.
        """
        if not self.bulk:
            yield self.records
            return
        together: list[Any] = []
        for data in self.bulk:
            try:
                part = decoded(data)
            except ValueError as error:
                msg = f"A record of {self.model} cannot be read: {error}"
                raise InvalidInputError(msg, code="invalid_record") from None
            if together and len(together) + len(part) > RECORDS_PER_BATCH:
                yield together
                together = []
            together += part
        yield together

    def prepared_records(self) -> PreparedBatch:
        """Return prepared records; no two of them have the same id."""
        parts, lines = list[PreparedBatch](), iter(self.bulk)
        for head in lines:
            about = decoded(head)
            ids = tuple(about["ids"])
            hashes = bytes.fromhex(about["hashes"])
            parts.append(
                PreparedBatch(
                    ids=ids,
                    payloads=tuple(islice(lines, len(ids))),
                    hashes=tuple(
                        hashes[place : place + HASH_BYTES]
                        for place in range(0, len(hashes), HASH_BYTES)
                    ),
                    duplicates=tuple(about["duplicates"]),
                )
            )
        return PreparedBatch(
            ids=tuple(chain.from_iterable(part.ids for part in parts)),
            payloads=tuple(chain.from_iterable(part.payloads for part in parts)),
            hashes=tuple(chain.from_iterable(part.hashes for part in parts)),
            duplicates=tuple(chain.from_iterable(part.duplicates for part in parts)),
        )


def prepared_lines(batch: PreparedBatch) -> tuple[bytes, ...]:
    """Return prepared records as they travel: a line about them, and a line for each."""
    about = {
        "ids": batch.ids,
        "hashes": b"".join(batch.hashes).hex(),
        "duplicates": batch.duplicates,
    }
    return (to_json(about), *batch.payloads)


class BatchOutcome(Payload):
    """What became of a batch.

    Attributes:
        counts: `added`, `updated`, `deleted`, `unchanged`.
        duplicates: Ids that came more than once; the first of each was kept.
        ignored: How many were left alone: others changed them, or they were to be updated and
            are not there.
    """

    counts: dict[str, int]
    duplicates: tuple[str, ...] = ()
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class PreparedWrite:
    """A batch that is ready to be written.

    Attributes:
        verb: What it does.
        target: Where its records belong.
        ids: Their ids.
        write: Writes it by the connection it is given.
        write_page: Writes it and moves the cursor of its read in one statement, None where there
            is more to do.
        write_batch: Writes it and notes it as a batch of the run in one statement, None where there
            is more to do.
    """

    verb: BatchVerb
    target: RecordSet
    ids: Sequence[str]
    write: Callable[[DbConnection], Awaitable[BatchResult]]
    write_page: Callable[[CursorMove], Awaitable[tuple[BatchResult, MovedCursor]]] | None = None
    write_batch: Callable[[BatchNote], Awaitable[BatchResult]] | None = None


class RecordActivities:
    """Steps that write records.

    The run's counts are written in the transaction of the records, so that what a step added,
    updated or deleted counts once even when its answer was lost and it is repeated. An attempt
    that is overtaken by a later one, of its batch or of one behind it, writes nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def batch_save(self, batch: BatchInput) -> BatchOutcome:
        """Insert or update records.

        Raises:
            InvalidInputError: A record has no usable id; nothing is saved.
        """
        return await self._step(BatchVerb.SAVE, batch)

    @activity.defn
    async def batch_delete(self, batch: BatchInput) -> BatchOutcome:
        """Mark records as deleted.

        Raises:
            InvalidInputError: A record has no usable id or `deletedAt`; nothing is deleted.
        """
        return await self._step(BatchVerb.DELETE, batch)

    @activity.defn
    async def batch_update(self, batch: BatchInput) -> BatchOutcome:
        """Merge fields into records that are there.

        Raises:
            InvalidInputError: A record has no usable id; nothing is updated.
        """
        return await self._step(BatchVerb.UPDATE, batch)

    async def write(self, verb: BatchVerb, batch: BatchInput, conn: DbConnection) -> BatchResult:
        """Write a batch inside a transaction, and count it nowhere.

        Raises:
            InvalidInputError: A record cannot be written.
        """
        return await self.prepare(verb, batch).write(conn)

    def prepare(self, verb: BatchVerb, batch: BatchInput) -> PreparedWrite:
        """Check and encode a batch; it asks nothing of the database.

        Raises:
            InvalidInputError: A record cannot be written.
        """
        match verb:
            case BatchVerb.SAVE:
                return self.saving(batch, prepare_batch(batch.records))
            case BatchVerb.UPDATE:
                return self._updating(batch, prepare_update(batch.records))
            case BatchVerb.DELETE:
                return self.deleting(batch, prepare_deletion(batch.records))

    def saving(self, batch: BatchInput, saved: PreparedBatch) -> PreparedWrite:
        """Return what saves prepared records in place of those of a batch."""
        records, target, by = self._database.records, _target(batch), _writer(batch)
        takes_more = (
            batch.context.dry_run or by.not_after is not None or saved.duplicates or not saved.ids
        )
        return PreparedWrite(
            BatchVerb.SAVE,
            target,
            saved.ids,
            lambda conn: records.save(target, saved, by=by, conn=conn),
            None if takes_more else lambda move: records.save_page(target, saved, move, by=by),
            None if takes_more else lambda note: records.save_batch(target, saved, note, by=by),
        )

    def deleting(self, batch: BatchInput, gone: PreparedDeletion) -> PreparedWrite:
        """As `saving`, of records that are to be marked as deleted."""
        records, target, by = self._database.records, _target(batch), _writer(batch)
        return PreparedWrite(
            BatchVerb.DELETE,
            target,
            gone.batch.ids,
            lambda conn: records.delete(target, gone, by=by, conn=conn),
        )

    def _updating(self, batch: BatchInput, merged: PreparedUpdate) -> PreparedWrite:
        records, target, by = self._database.records, _target(batch), _writer(batch)
        return PreparedWrite(
            BatchVerb.UPDATE,
            target,
            tuple(merged.partials),
            lambda conn: records.update(target, merged, by=by, conn=conn),
        )

    def _statements(self, verb: BatchVerb, batch: BatchInput) -> list[PreparedWrite]:
        if batch.prepared:
            return [self.saving(batch, batch.prepared_records())]
        return [
            # Not validated again: the script's worker wrote these records as what they are.
            self.prepare(verb, batch.model_copy(update={"records": records, "bulk": ()}))
            for records in batch.statements()
        ]

    async def perform(
        self, context: RunContext, prepared: PreparedWrite, conn: DbConnection
    ) -> BatchResult:
        """Write a batch, or in a dry run note what it would do, and count it nowhere.

        Args:
            context: The run.
            prepared: The batch.
            conn: Connection whose transaction this joins.
        """
        if not context.dry_run:
            return await prepared.write(conn)
        return await self._database.dry_runs.preview(
            context.run_id,
            prepared.target,
            prepared.ids,
            prepared.write,
            merges=prepared.verb is BatchVerb.UPDATE,
            conn=conn,
        )

    async def _step(self, verb: BatchVerb, batch: BatchInput) -> BatchOutcome:
        context = batch.context
        prepared, note = self._statements(verb, batch), _note(verb, batch)
        if note is not None and len(prepared) == 1:
            write_batch = prepared[0].write_batch
            if write_batch is not None:
                result = await write_batch(note)
                count_records(context, batch.model, result.counts)
                return BatchOutcome(counts=dict(result.counts))
        async with self._database.transaction() as conn:
            results = [await self.perform(context, one, conn) for one in prepared]
            counts = total_of(result.counts for result in results)
            if note is None:
                await self._database.runs.add_counts(context.run_id, batch.model, counts, conn=conn)
            else:
                await self._database.run_batches.note(
                    context.run_id, note, batch.model, counts, conn=conn
                )
        count_records(context, batch.model, counts)
        return BatchOutcome(
            counts=dict(counts),
            duplicates=tuple(id_ for result in results for id_ in result.duplicates),
            ignored=sum(len(result.ignored) for result in results),
        )


def duplicates_text(model: str, duplicates: tuple[str, ...]) -> str:
    """Return what the log says of ids that came more than once."""
    ids = ", ".join(duplicates[:_NAMED_DUPLICATES])
    return (
        f"{len(duplicates)} records of {model} had an id that was in the same "
        f"batch already; the first of each was kept: {ids}"
    )


def ignored_text(verb: str, model: str, count: int) -> str:
    """Return what the log says of records that were left alone."""
    why = (
        "they are not there or others changed them meanwhile"
        if verb == "update"
        else "others changed them meanwhile"
    )
    return f"{verb}: {count:,} records of {model} were left alone, since {why}"


def _target(batch: BatchInput) -> RecordSet:
    context = batch.context
    return RecordSet(ConnectionKey(context.connection_key), batch.model, context.record_variant)


def _writer(batch: BatchInput) -> Writer:
    context = batch.context
    return Writer(
        run_id=context.run_id,
        sync=context.script if context.kind == WorkflowType.SYNC else None,
        not_after=batch.not_after,
    )


def _identity(batch: BatchInput) -> Iterator[bytes]:
    """Yield lines by which a batch differs from every other one."""
    if not batch.prepared:
        yield from batch.bulk
        return
    # Hashes stand for the records.
    lines = iter(batch.bulk)
    for head in lines:
        yield head
        for _ in islice(lines, len(decoded(head)["ids"])):
            pass


def _note(verb: BatchVerb, batch: BatchInput) -> BatchNote | None:
    """Tell batches of a run apart; one that a retried run writes again has the same name."""
    if not batch.number:
        return None
    info, name = activity.info(), hashlib.blake2b(digest_size=9)
    whose = (info.workflow_id, batch.number, verb, batch.model)
    for part in ("\0".join(map(str, whose)).encode(), *_identity(batch)):
        name.update(part)
    return BatchNote(
        info.workflow_id or "",
        name.hexdigest(),
        info.current_attempt_scheduled_time,
        info.attempt,
    )
