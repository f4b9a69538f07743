"""Brings schedules into line with what is deployed and connected."""

from __future__ import annotations

import asyncio

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
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId
from perdure.temporal.payloads import ConnectionInput, DeployInput, Payload, SyncInput

__all__ = ["Reconciled", "ScheduleActivities", "sync_input"]

# The server works schedules off one after another; more at once only fills its queue.
_CONCURRENCY = 8


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

    @activity.defn
    async def reconcile_deployment(self, deployed: DeployInput) -> Reconciled:
        """Bring the schedules of all connections of an environment into line with a bundle."""
        environment_id = EnvironmentId(deployed.environment_id)
        config = await self._bundles.config(BundleHash(deployed.bundle))
        connections = await self._database.connections.list(environment_id)
        limit = asyncio.Semaphore(_CONCURRENCY)
        tasks: list[asyncio.Task[bool]] = []

        async def ensure(connection: Connection, declared: DeclaredSync) -> bool:
            async with limit:
                return await self._ensure(deployed.environment, connection, declared)

        async with heartbeating():
            async with asyncio.TaskGroup() as group:
                for connection in connections:
                    integration = config.integration(connection.integration)
                    tasks.extend(
                        group.create_task(ensure(connection, declared))
                        for declared in (integration.syncs if integration else ())
                    )
            created = sum(task.result() for task in tasks)
            deleted = 0
            for sync in await self._database.syncs.list(environment_id):
                integration = config.integration(sync.integration)
                if integration is None or integration.sync(sync.name) is None:
                    await self._schedules.delete(sync_input(deployed.environment, sync))
                    deleted += 1
        return Reconciled(created=created, updated=len(tasks) - created, deleted=deleted)

    async def _ensure(
        self, environment: str, connection: Connection, declared: DeclaredSync
    ) -> bool:
        sync = await self._database.syncs.ensure(connection.key, declared.name)
        interval = parse_runs(sync.frequency) if sync.frequency else declared.interval
        return await self._schedules.ensure(
            sync_input(environment, sync), interval, auto_start=declared.auto_start
        )
