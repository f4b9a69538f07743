"""Steps of a run that empties the cache: what is built anew, and when readers come to see it."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from temporalio import activity

from perdure.clock import utcnow
from perdure.db.checkpoints import checkpoint_key
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.records import ModelCounts
from perdure.db.resyncs import Kept
from perdure.db.runs import LogLine
from perdure.ids import ConnectionKey
from perdure.records.delete_guard import held_message
from perdure.temporal.payloads import RunContext

__all__ = ["ResyncActivities"]

_DROPPED_AT_ONCE = 10_000


class ResyncActivities:
    """Steps around records that are built anew. All of them may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def drop_leftovers(self, context: RunContext) -> None:
        """Remove what an earlier run has built and never came to show."""
        dropped = _DROPPED_AT_ONCE
        while dropped == _DROPPED_AT_ONCE:
            dropped = await self._database.resyncs.drop_leftovers(
                ConnectionKey(context.connection_key),
                context.models,
                context.variant,
                run_id=context.run_id,
                limit=_DROPPED_AT_ONCE,
            )

    @activity.defn
    async def swap_records(self, context: RunContext) -> dict[str, int]:
        """Put what the run has built in the place of the records that readers see.

        Records of a model of which the run saw nothing stay until somebody confirms it.

        Returns:
            How many records were marked as deleted, by model.

        Raises:
            ConflictError: `rebuild_replaced`, another run has begun since.
        """
        key = ConnectionKey(context.connection_key)
        async with self._database.transaction() as conn:
            swapped = await self._database.resyncs.swap(
                UUID(context.sync_id),
                context.run_id,
                connection_key=key,
                variant=context.variant,
                models=context.models,
                guarded=context.delete_guard is not None,
                conn=conn,
            )
            await self._database.checkpoints.move(
                key,
                checkpoint_key(context.kind, context.script, context.record_variant),
                to=checkpoint_key(context.kind, context.script, context.variant),
                conn=conn,
            )
            for model, number in swapped.deleted.items():
                if number:
                    counts = ModelCounts(added=0, updated=0, deleted=number, unchanged=0)
                    await self._database.runs.add_counts(context.run_id, model, counts, conn=conn)
            await self._tell_kept(context, swapped.kept, conn)
        return swapped.deleted

    async def _tell_kept(
        self, context: RunContext, kept: Mapping[str, Kept], conn: DbConnection
    ) -> None:
        lines = [
            LogLine(
                at=utcnow(),
                level="warn",
                message=held_message(
                    f"{records.absent:,} of {records.live:,} {model}",
                    model,
                    integration=context.integration,
                    sync=context.script,
                    connection_id=context.connection_id,
                    variant=context.variant,
                    next_run="the next run that empties the cache",
                ),
                step_id=f"kept:{model}",
            )
            for model, records in kept.items()
        ]
        await self._database.runs.append_logs(context.run_id, lines, conn=conn)
