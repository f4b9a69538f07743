"""Batches of records, written to the records cache."""

from __future__ import annotations

from typing import Any

from temporalio import activity

from activities.heartbeat import heartbeating
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.records import BatchResult, RecordSet
from perdure.ids import ConnectionKey
from perdure.records.prepare import prepare_batch, prepare_deletion
from perdure.temporal.payloads import Payload, RunContext

__all__ = ["BatchInput", "BatchOutcome", "RecordActivities"]


class BatchInput(Payload):
    """Records of one model.

    Attributes:
        sealed: Whether a record carries a secret of the connection.
    """

    context: RunContext
    model: str
    records: list[Any]
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class BatchOutcome(Payload):
    """What became of a batch.

    Attributes:
        counts: `added`, `updated`, `deleted`, `unchanged`.
        duplicates: Ids that came more than once; the first of each was kept.
    """

    counts: dict[str, int]
    duplicates: tuple[str, ...] = ()


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
        prepared = prepare_batch(batch.records)
        async with heartbeating(), self._database.transaction() as conn:
            result = await self._database.records.save(
                _target(batch), prepared, run_id=batch.context.run_id, conn=conn
            )
            await self._count(batch, result, conn)
        return _outcome(result)

    @activity.defn
    async def batch_delete(self, batch: BatchInput) -> BatchOutcome:
        """Mark records as deleted.

        Raises:
            InvalidInputError: A record has no usable id; nothing is deleted.
        """
        prepared = prepare_deletion(batch.records)
        async with heartbeating(), self._database.transaction() as conn:
            result = await self._database.records.delete(
                _target(batch), prepared, run_id=batch.context.run_id, conn=conn
            )
            await self._count(batch, result, conn)
        return _outcome(result)

    async def _count(self, batch: BatchInput, result: BatchResult, conn: DbConnection) -> None:
        await self._database.runs.add_counts(
            batch.context.run_id, batch.model, result.counts, conn=conn
        )


def _target(batch: BatchInput) -> RecordSet:
    context = batch.context
    return RecordSet(ConnectionKey(context.connection_key), batch.model, context.record_variant)


def _outcome(result: BatchResult) -> BatchOutcome:
    return BatchOutcome(counts=dict(result.counts), duplicates=result.duplicates)
