"""Makes and deletes the schedules of one connection."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.reconciliation import Reconciler
from activities.sync_runs import SyncRuns
from activities.sync_schedules import SyncSchedules, sync_input
from perdure.db.database import Database
from perdure.db.syncs import Sync
from perdure.errors import NotFoundError
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId
from perdure.temporal.payloads import ConnectionInput, Payload, SyncInput

__all__ = ["Reconciled", "ScheduleActivities"]


# The server works schedules off one after another; more at once only fills its queue.
_CONCURRENCY = 8

_DELETED = "its connection was deleted"


class Reconciled(Payload):
    """What was done to schedules."""

    created: int = 0
    updated: int = 0
    deleted: int = 0


class ScheduleActivities:
    """Steps that make and delete schedules. Repeating one does no harm."""

    def __init__(
        self,
        database: Database,
        schedules: SyncSchedules,
        reconciler: Reconciler,
        runs: SyncRuns,
    ) -> None:
        self._database = database
        self._schedules = schedules
        self._reconciler = reconciler
        self._runs = runs

    @activity.defn
    async def forget_schedule(self, sync: SyncInput) -> None:
        """Delete the schedule of a sync that a run found to be gone."""
        await self._schedules.forget(sync)

    @activity.defn
    async def ensure_connection_schedules(self, target: ConnectionInput) -> Reconciled:
        """Bring a connection into line with the active bundle, which is so also afterwards.

        A deploy that comes in the middle may have gone through the connections already, so what
        was scheduled for the bundle before is removed here.
        """
        done: BundleHash | None = None
        scheduled: list[Sync] = []
        created = updated = deleted = 0
        while True:
            try:
                connection = await self._database.connections.by_key(
                    ConnectionKey(target.connection_key)
                )
            except NotFoundError:
                break
            rows = await self._database.syncs.of_connections([connection.key])
            environment = await self._database.environments.by_id(connection.environment_id)
            bundle = environment.active_bundle
            if bundle is None or bundle == done:
                break
            known = {row.id: row for row in (*scheduled, *rows)}
            removed, _ = await self._reconciler.remove(
                target.environment, list(known.values()), bundle
            )
            ensured = await self._reconciler.ensure(target.environment, [connection], bundle)
            scheduled = [row for row, _ in ensured]
            new = sum(is_new for _, is_new in ensured)
            created += new
            updated += len(ensured) - new
            deleted += removed
            done = bundle
        return Reconciled(created=created, updated=updated, deleted=deleted)

    @activity.defn
    async def delete_connection_schedules(self, target: ConnectionInput) -> Reconciled:
        """Delete a connection's schedules and end all that runs for it."""
        syncs = await self._database.syncs.list(
            EnvironmentId(target.environment_id),
            connection_key=ConnectionKey(target.connection_key),
        )
        at_once = asyncio.Semaphore(_CONCURRENCY)

        async def remove(sync: Sync) -> None:
            async with at_once:
                await self._runs.remove(sync_input(target.environment, sync), _DELETED)

        await asyncio.gather(*map(remove, syncs))
        await self._runs.end_of_connection(ConnectionKey(target.connection_key), _DELETED)
        return Reconciled(deleted=len(syncs))
