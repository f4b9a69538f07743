"""Makes and deletes the schedules of one connection."""

from __future__ import annotations

from temporalio import activity

from activities.bundles import BundleCache
from activities.heartbeat import heartbeating
from activities.sync_schedules import SyncSchedules
from config.intervals import parse_runs
from config.project import Sync as DeclaredSync
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.syncs import Sync
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.temporal.payloads import ConnectionInput, Payload, SyncInput

__all__ = ["Reconciled", "ScheduleActivities", "sync_input"]


class Reconciled(Payload):
    """What was done to schedules."""

    created: int = 0
    updated: int = 0
    deleted: int = 0


def sync_input(environment: str, sync: Sync) -> SyncInput:
    """Return what identifies a sync to its workflow and its schedule."""
    return SyncInput(
        environment=environment,
        environment_id=sync.environment_id,
        integration=sync.integration,
        connection_id=sync.connection_id,
        connection_key=sync.connection_key,
        sync=sync.name,
        variant=sync.variant,
    )


class ScheduleActivities:
    """Steps that make and delete schedules. Repeating one does no harm."""

    def __init__(self, database: Database, bundles: BundleCache, schedules: SyncSchedules) -> None:
        self._database = database
        self._bundles = bundles
        self._schedules = schedules

    @activity.defn
    async def forget_schedule(self, sync: SyncInput) -> None:
        """Delete the schedule of a sync that a run found to be gone."""
        await self._schedules.forget(sync)

    @activity.defn
    async def ensure_connection_schedules(self, target: ConnectionInput) -> Reconciled:
        """Give a connection the schedule of every sync that is deployed for its integration."""
        try:
            connection = await self._database.connections.by_key(
                ConnectionKey(target.connection_key)
            )
            environment = await self._database.environments.by_id(
                EnvironmentId(target.environment_id)
            )
        except NotFoundError:
            return Reconciled()
        if environment.active_bundle is None:
            return Reconciled()
        config = await self._bundles.config(environment.active_bundle)
        integration = config.integration(connection.integration)
        created = updated = 0
        async with heartbeating():
            for declared in integration.syncs if integration else ():
                if await self._ensure(target.environment, connection, declared):
                    created += 1
                else:
                    updated += 1
        return Reconciled(created=created, updated=updated)

    @activity.defn
    async def delete_connection_schedules(self, target: ConnectionInput) -> Reconciled:
        """Delete a connection's schedules and cancel their runs."""
        syncs = await self._database.syncs.list(
            EnvironmentId(target.environment_id),
            connection_key=ConnectionKey(target.connection_key),
        )
        async with heartbeating():
            for sync in syncs:
                await self._schedules.delete(sync_input(target.environment, sync))
        return Reconciled(deleted=len(syncs))

    async def _ensure(
        self, environment: str, connection: Connection, declared: DeclaredSync
    ) -> bool:
        sync = await self._database.syncs.ensure(connection.key, declared.name)
        interval = parse_runs(sync.frequency) if sync.frequency else declared.interval
        return await self._schedules.ensure(
            sync_input(environment, sync), interval, auto_start=declared.auto_start
        )
