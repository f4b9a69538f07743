"""Brings connections into line with a bundle: their syncs, schedules and records.

Everything may be repeated. What is to be removed is known by rows that are deleted last, and what
is to be made is made only where it is missing, so what is done twice does nothing twice; above
all, it never erases what a sync of the bundle has saved since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from activities.bundles import BundleCache
from activities.erasure import Erasure
from activities.sync_runs import SyncRuns
from activities.sync_schedules import SyncSchedules, sync_input
from config.intervals import Interval, IntervalError, parse_runs
from config.project import NangoConfig
from config.project import Sync as DeclaredSync
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.records import RecordSet
from perdure.db.syncs import Sync
from perdure.ids import BundleHash

__all__ = ["Reconciler"]

ResultT = TypeVar("ResultT")

# The server works schedules off one after another; more at once only fills its queue.
_CONCURRENCY = 8


class Reconciler:
    """Brings connections into line.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        schedules: Schedules of syncs.
        erasure: Erases records.
        runs: Ends runs.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        schedules: SyncSchedules,
        erasure: Erasure,
        runs: SyncRuns,
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._schedules = schedules
        self._erasure = erasure
        self._runs = runs

    async def remove(
        self, environment: str, rows: Sequence[Sync], bundle: BundleHash
    ) -> tuple[int, int]:
        """End and delete the syncs that a bundle does not declare, with what they saved.

        The rows go last: while a row is there, its records may still have to be erased, and they
        are not yet those of a new sync that was given the same model. Records of a model that a
        sync which stays takes over are left to it: it may have saved some of them already.

        Args:
            environment: Name of the environment.
            rows: Syncs, read before the bundle was known to be the active one; those whose rows
                have gone since are ended as well.
            bundle: The bundle.

        Returns:
            How many syncs and how many records were removed.
        """
        config = await self._bundles.config(bundle)
        removed = [row for row in rows if _declared(config, row) is None]
        if not removed:
            return 0, 0
        await _each([partial(self._end, environment, row) for row in removed])
        followed = await self._database.bundles.followed(removed[0].environment_id)
        formers = [await self._bundles.config(former) for former in followed]
        erased = 0
        for row in removed:
            declared = [_declared(former, row) for former in formers]
            for model in sorted({model for sync in declared if sync for model in sync.output}):
                target = RecordSet(row.connection_key, model, row.variant)
                erased += await self._erasure.erase(target, row.integration, bundle)
        await self._database.syncs.delete_all([row.id for row in removed])
        return len(removed), erased

    async def ensure(
        self, environment: str, connections: Sequence[Connection], bundle: BundleHash
    ) -> list[tuple[Sync, bool]]:
        """Give every sync of the connections its schedule; those that override it keep theirs.

        Connections that are being deleted get none, nor those that may yet be refused.

        Returns:
            The syncs, each with whether its schedule is new.
        """
        config = await self._bundles.config(bundle)
        connections = await self._lasting(connections)
        wanted = [
            (connection.key, sync.name)
            for connection in connections
            if (integration := config.integration(connection.integration)) is not None
            for sync in integration.syncs
        ]
        await self._database.syncs.ensure_all(wanted)
        rows = [
            (row, declared)
            for row in await self._database.syncs.of_connections([c.key for c in connections])
            if (declared := _declared(config, row)) is not None
        ]
        is_new = await _each(
            [
                partial(
                    self._schedules.ensure,
                    sync_input(environment, row),
                    _interval(row, declared),
                    auto_start=declared.auto_start,
                )
                for row, declared in rows
            ]
        )
        return [(row, new) for (row, _), new in zip(rows, is_new, strict=True)]

    async def erase_undeclared(self, connections: Sequence[Connection], bundle: BundleHash) -> int:
        """Erase records of models that no sync of the bundle saves; returns how many."""
        config = await self._bundles.config(bundle)
        integrations = {connection.key: connection.integration for connection in connections}
        declared = {
            (key, model)
            for key, name in integrations.items()
            if (integration := config.integration(name)) is not None
            for sync in integration.syncs
            for model in sync.output
        }
        erased = 0
        for target in await self._database.record_sets.list(list(integrations)):
            key = target.connection_key
            if (key, target.model) not in declared:
                erased += await self._erasure.erase(target, integrations[key], bundle)
        return erased

    async def _lasting(self, connections: Sequence[Connection]) -> list[Connection]:
        unvalidated = await self._database.lifecycle.unvalidated([c.key for c in connections])
        return [
            connection
            for connection in connections
            if connection.deleting_since is None and connection.key not in unvalidated
        ]

    async def _end(self, environment: str, row: Sync) -> None:
        """Delete the schedule of a sync and end its runs; those that start now find nothing."""
        await self._runs.remove(sync_input(environment, row), "its sync was removed by a deploy")


async def _each(calls: Sequence[Callable[[], Awaitable[ResultT]]]) -> list[ResultT]:
    """Carry out calls, a few at a time; the first that fails ends all and is raised itself."""
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def limited(call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        async with limit:
            return await call()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(limited(call)) for call in calls]
    except* Exception as failures:
        raise _first(failures) from failures
    return [task.result() for task in tasks]


def _first(failures: BaseExceptionGroup[Exception]) -> Exception:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _interval(row: Sync, declared: DeclaredSync) -> Interval:
    """Return how often a sync runs; an override that is no longer understood does not count."""
    try:
        return parse_runs(row.frequency) if row.frequency else declared.interval
    except IntervalError:
        return declared.interval


def _declared(config: NangoConfig, row: Sync) -> DeclaredSync | None:
    integration = config.integration(row.integration)
    return integration.sync(row.name) if integration else None
