"""Batches of records, written to the records cache."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any

from temporalio import activity

from activities.heartbeat import heartbeating
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.record_writes import BatchResult, RecordSet, Writer
from perdure.ids import ConnectionKey
from perdure.records.prepare import prepare_batch, prepare_deletion, prepare_update
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import Payload, RunContext

__all__ = ["BatchInput", "BatchOutcome", "BatchVerb", "RecordActivities"]


class BatchVerb(StrEnum):
    """What a batch does; the names of the steps that do it."""

    SAVE = "batch_save"
    UPDATE = "batch_update"
    DELETE = "batch_delete"


class BatchInput(Payload):
    """Records of one model.

    Attributes:
        sealed: Whether a record carries a secret of the connection.
        not_after: Records that others changed after this place in the stream are left alone,
            None where they are not.
    """

    context: RunContext
    model: str
    records: list[Any]
    sealed: bool = False
    not_after: int | None = None

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


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


class RecordActivities:
    """Steps that write records.

    The run's counts are written in the transaction of the records, so that what a step added,
    updated or deleted counts once even when its answer was lost and it is repeated.
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
        _, write = self._prepared(verb, batch)
        return await write(conn)

    def _prepared(
        self, verb: BatchVerb, batch: BatchInput
    ) -> tuple[Sequence[str], Callable[[DbConnection], Awaitable[BatchResult]]]:
        """Return the ids of a batch, and how it is written."""
        records, target, by = self._database.records, _target(batch), _writer(batch)
        match verb:
            case BatchVerb.SAVE:
                saved = prepare_batch(batch.records)
                return saved.ids, lambda conn: records.save(target, saved, by=by, conn=conn)
            case BatchVerb.UPDATE:
                merged = prepare_update(batch.records)
                ids = tuple(merged.partials)
                return ids, lambda conn: records.update(target, merged, by=by, conn=conn)
            case BatchVerb.DELETE:
                gone = prepare_deletion(batch.records)
                return gone.batch.ids, lambda conn: records.delete(target, gone, by=by, conn=conn)

    async def _step(self, verb: BatchVerb, batch: BatchInput) -> BatchOutcome:
        context = batch.context
        ids, write = self._prepared(verb, batch)
        async with heartbeating(), self._database.transaction() as conn:
            if context.dry_run:
                result = await self._database.dry_runs.preview(
                    context.run_id,
                    _target(batch),
                    ids,
                    write,
                    merges=verb is BatchVerb.UPDATE,
                    conn=conn,
                )
            else:
                result = await write(conn)
            await self._database.runs.add_counts(
                context.run_id, batch.model, result.counts, conn=conn
            )
        return _outcome(result)


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


def _outcome(result: BatchResult) -> BatchOutcome:
    return BatchOutcome(
        counts=dict(result.counts),
        duplicates=result.duplicates,
        ignored=len(result.ignored),
    )
