"""Steps of a deploy: check, activate, then bring one batch of connections after another into line.

Every step may be repeated. What a batch has to remove is known by rows that are deleted last, and
what it has to make is made only where it is missing, so a step that is done twice does nothing
twice; above all, it never erases what a sync of the new bundle has saved since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from temporalio import activity
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleState,
    WorkflowFailureError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.bundles import BundleCache
from activities.heartbeat import heartbeating
from activities.schedules import sync_input
from activities.sync_schedules import SyncSchedules, schedule_spec
from config.intervals import Interval, IntervalError, parse_runs
from config.project import NangoConfig
from config.project import Sync as DeclaredSync
from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.records import RecordSet
from perdure.db.runs import Run, RunStatus
from perdure.db.syncs import Sync
from perdure.errors import InvalidInputError
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import DeployInput, Payload

__all__ = ["Activated", "Batch", "BatchDone", "DeploymentActivities"]

ResultT = TypeVar("ResultT")

# The server works schedules off one after another; more at once only fills its queue.
_CONCURRENCY = 8
_ERASED_AT_ONCE = 10_000
_RUNS_AT_ONCE = 1_000
# A script may swallow that it is cancelled; its run is not waited for any longer than this.
_END_PATIENCE = timedelta(seconds=30)
_RPC_TIMEOUT = timedelta(seconds=10)


class Activated(Payload):
    """A deploy that has begun.

    Attributes:
        deployment_id: The deployment that made the bundle the active one.
        created_at: When.
        connections: How many connections the environment has.
    """

    deployment_id: int
    created_at: datetime
    connections: int


class Batch(Payload):
    """Some connections of an environment.

    Attributes:
        deployed: What is deployed.
        after: Only connections with a higher key.
        limit: Most connections.
    """

    deployed: DeployInput
    after: int
    limit: int


class BatchDone(Payload):
    """What was done for some connections; the counts are those of `DeployResult`.

    Attributes:
        last: The highest key among them, None where there were none.
    """

    last: int | None = None
    connections: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    erased: int = 0


class DeploymentActivities:
    """Steps of a deploy.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        schedules: Schedules of syncs.
        client: Ends runs.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        schedules: SyncSchedules,
        client: Client,
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._schedules = schedules
        self._client = client

    @activity.defn
    async def check_schedules(self, deployed: DeployInput) -> None:
        """Have the server check the calendars that are new, while nothing has changed yet.

        Raises:
            InvalidInputError: `invalid_runs`, the server refuses one.
        """
        known = {sync.interval for sync in _syncs(await self._previous(deployed))}
        config = await self._bundles.config(BundleHash(deployed.bundle))
        for sync in _syncs(config):
            if sync.interval.cron is not None and sync.interval not in known:
                known.add(sync.interval)
                await self._check(deployed, sync)

    @activity.defn
    async def activate_bundle(self, deployed: DeployInput) -> Activated:
        """Make the bundle the active one: runs that start from now on execute it.

        Raises:
            ConflictError: `concurrent_deployment`, something else was deployed meanwhile.
        """
        environment_id = EnvironmentId(deployed.environment_id)
        deployment = await self._database.bundles.deploy(
            environment_id, BundleHash(deployed.bundle), after=deployed.after
        )
        counts = await self._database.connections.count_by_integration(environment_id)
        return Activated(
            deployment_id=deployment.id,
            created_at=deployment.created_at,
            connections=sum(counts.values()),
        )

    @activity.defn
    async def reconcile_connections(self, batch: Batch) -> BatchDone:
        """Bring syncs, schedules and records of some connections into line with the bundle."""
        deployed = batch.deployed
        connections = await self._database.connections.page(
            EnvironmentId(deployed.environment_id),
            after=ConnectionKey(batch.after),
            limit=batch.limit,
        )
        if not connections:
            return BatchDone()
        config = await self._bundles.config(BundleHash(deployed.bundle))
        async with heartbeating():
            deleted, erased = await self._remove(deployed, connections, config)
            created, updated = await self._ensure(deployed, connections, config)
            erased += await self._erase_undeclared(connections, config)
        return BatchDone(
            last=connections[-1].key,
            connections=len(connections),
            created=created,
            updated=updated,
            deleted=deleted,
            erased=erased,
        )

    async def _remove(
        self, deployed: DeployInput, connections: Sequence[Connection], config: NangoConfig
    ) -> tuple[int, int]:
        """End and delete the syncs that are not declared any more, with what they saved.

        The rows go last: while a row is there, its records may still have to be erased, and they
        are not yet those of a new sync that was given the same model. Records of a model that a
        sync which stays takes over are left to it: it may have saved some of them already.
        """
        rows = await self._database.syncs.of_connections([item.key for item in connections])
        removed = [row for row in rows if _declared(config, row) is None]
        if not removed:
            return 0, 0
        await _each([partial(self._end, deployed, row) for row in removed])
        previous = await self._previous(deployed)
        erased = 0
        for row in removed:
            former = _declared(previous, row)
            kept = _outputs_of_staying_syncs(previous, config, row.integration)
            for model in set(former.output) - kept if former else ():
                erased += await self._erase(RecordSet(row.connection_key, model, row.variant))
        await self._database.syncs.delete_all([row.id for row in removed])
        return len(removed), erased

    async def _ensure(
        self, deployed: DeployInput, connections: Sequence[Connection], config: NangoConfig
    ) -> tuple[int, int]:
        """Give every sync of the connections its schedule; those that override it keep theirs."""
        wanted = [
            (connection.key, sync.name)
            for connection in connections
            if (integration := config.integration(connection.integration)) is not None
            for sync in integration.syncs
        ]
        await self._database.syncs.ensure_all(wanted)
        rows = await self._database.syncs.of_connections([item.key for item in connections])
        is_new = await _each(
            [
                partial(
                    self._schedules.ensure,
                    sync_input(deployed.environment, row),
                    _interval(row, declared),
                    auto_start=declared.auto_start,
                )
                for row in rows
                if (declared := _declared(config, row)) is not None
            ]
        )
        return sum(is_new), len(is_new) - sum(is_new)

    async def _erase_undeclared(
        self, connections: Sequence[Connection], config: NangoConfig
    ) -> int:
        """Erase records of models that no sync saves any more."""
        declared = {
            (connection.key, model)
            for connection in connections
            if (integration := config.integration(connection.integration)) is not None
            for sync in integration.syncs
            for model in sync.output
        }
        held = await self._database.records.sets([item.key for item in connections])
        erased = 0
        for target in held:
            if (target.connection_key, target.model) not in declared:
                erased += await self._erase(target)
        return erased

    async def _erase(self, target: RecordSet) -> int:
        """Erase records in short transactions, so that nobody waits for long."""
        erased = 0
        while True:
            count = await self._database.records.erase(target, limit=_ERASED_AT_ONCE)
            erased += count
            if count < _ERASED_AT_ONCE:
                return erased

    async def _end(self, deployed: DeployInput, row: Sync) -> None:
        """Delete the schedule of a sync and end its runs; those that start now find nothing."""
        await self._schedules.delete(sync_input(deployed.environment, row))
        running = await self._database.runs.list(
            row.environment_id,
            kind=WorkflowType.SYNC,
            integration=row.integration,
            connection_id=row.connection_id,
            script=row.name,
            status=RunStatus.RUNNING,
            limit=_RUNS_AT_ONCE,
        )
        for run in running:
            if run.variant == row.variant:
                await self._end_run(run)

    async def _end_run(self, run: Run) -> None:
        handle = self._client.get_workflow_handle(run.workflow_id, run_id=run.id)
        try:
            await handle.cancel(rpc_timeout=_RPC_TIMEOUT)
            async with asyncio.timeout(_END_PATIENCE.total_seconds()):
                await handle.result(follow_runs=False)
        except WorkflowFailureError:
            pass
        except TimeoutError:
            await handle.terminate("its sync was removed by a deploy", rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        # Of a run that could not say so itself; the end that it told counts.
        await self._database.runs.finish(run.id, RunStatus.CANCELLED, finished_at=utcnow())

    async def _check(self, deployed: DeployInput, sync: DeclaredSync) -> None:
        name = f"check/{deployed.environment}/{deployed.bundle[:12]}"
        handle = self._client.get_schedule_handle(name)
        try:
            await self._client.create_schedule(
                name, _paused(sync.interval), rpc_timeout=_RPC_TIMEOUT
            )
        except ScheduleAlreadyRunningError:
            # Left by an attempt that was killed; the next one finds the place free.
            await handle.delete(rpc_timeout=_RPC_TIMEOUT)
            raise
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            msg = (
                f"Temporal does not accept `runs: {sync.runs}` of the sync {sync.name!r} "
                f"({error.message}); nothing was deployed."
            )
            raise InvalidInputError(msg, code="invalid_runs") from error
        await handle.delete(rpc_timeout=_RPC_TIMEOUT)

    async def _previous(self, deployed: DeployInput) -> NangoConfig:
        if deployed.previous is None:
            return _NOTHING
        return await self._bundles.config(BundleHash(deployed.previous))


_NOTHING = NangoConfig("v2", (), ())


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


def _interval(row: Sync, declared: DeclaredSync) -> Interval:
    """Return how often a sync runs; an override that is no longer understood does not count."""
    try:
        return parse_runs(row.frequency) if row.frequency else declared.interval
    except IntervalError:
        return declared.interval


def _first(failures: BaseExceptionGroup[Exception]) -> Exception:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _syncs(config: NangoConfig) -> Iterable[DeclaredSync]:
    return (sync for integration in config.integrations for sync in integration.syncs)


def _outputs_of_staying_syncs(
    previous: NangoConfig, config: NangoConfig, integration: str
) -> set[str]:
    before, after = previous.integration(integration), config.integration(integration)
    return {
        model
        for sync in (after.syncs if after else ())
        if before is not None and before.sync(sync.name) is not None
        for model in sync.output
    }


def _declared(config: NangoConfig, row: Sync) -> DeclaredSync | None:
    integration = config.integration(row.integration)
    return integration.sync(row.name) if integration else None


def _paused(interval: Interval) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WorkflowType.SYNC, id="never", task_queue=TaskQueue.SYNCS
        ),
        spec=schedule_spec(interval, ""),
        state=ScheduleState(paused=True, note="made to check when it would fire"),
    )
