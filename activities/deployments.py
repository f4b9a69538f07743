"""Steps of a deploy: check, activate, then bring one batch of connections after another into line.

Every step may be repeated; see `activities.reconciliation`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from temporalio import activity
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleState,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.bundles import BundleCache
from activities.reconciliation import Reconciler
from activities.sync_schedules import schedule_spec
from config.intervals import Interval
from config.project import NangoConfig
from config.project import Sync as DeclaredSync
from perdure.db.database import Database
from perdure.errors import InvalidInputError
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import DeployInput, Payload

__all__ = ["Activated", "Batch", "BatchDone", "DeploymentActivities", "left_to_do"]

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


def left_to_do(bundle: str, reconciled: int, connections: int) -> str:
    """Say for people what a deploy that ended early has left.

    Args:
        bundle: Hash of the bundle, which was activated.
        reconciled: How many connections are in line with it.
        connections: How many there are.
    """
    return (
        f"Bundle {bundle[:12]} is the active one, but connections {reconciled + 1:,} to "
        f"{max(connections, reconciled + 1):,} are not in line with it yet. "
        "Deploy again to finish that."
    )


class DeploymentActivities:
    """Steps of a deploy.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        reconciler: Brings connections into line.
        client: Checks calendars.
    """

    def __init__(
        self, database: Database, bundles: BundleCache, reconciler: Reconciler, client: Client
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._reconciler = reconciler
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
        environment, bundle = deployed.environment, BundleHash(deployed.bundle)
        environment_id = EnvironmentId(deployed.environment_id)
        connections = await self._database.connections.page(
            environment_id, after=ConnectionKey(batch.after), limit=batch.limit
        )
        done = BatchDone()
        if connections:
            rows = await self._database.syncs.of_connections([item.key for item in connections])
            deleted, erased = await self._reconciler.remove(environment, rows, bundle)
            ensured = await self._reconciler.ensure(environment, connections, bundle)
            erased += await self._reconciler.erase_undeclared(connections, bundle)
            created = sum(is_new for _, is_new in ensured)
            done = BatchDone(
                last=connections[-1].key,
                connections=len(connections),
                created=created,
                updated=len(ensured) - created,
                deleted=deleted,
                erased=erased,
            )
        await self._database.bundles.note_reconciled(
            environment_id,
            bundle,
            ConnectionKey(done.last or batch.after),
            is_last=len(connections) < batch.limit,
        )
        return done

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


def _syncs(config: NangoConfig) -> Iterable[DeclaredSync]:
    return (sync for integration in config.integrations for sync in integration.syncs)


def _paused(interval: Interval) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WorkflowType.SYNC, id="never", task_queue=TaskQueue.SYNCS
        ),
        spec=schedule_spec(interval, ""),
        state=ScheduleState(paused=True, note="made to check when it would fire"),
    )
