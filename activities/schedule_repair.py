"""Makes schedules that syncs lack, as where Temporal was set up anew beside an older database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.api.workflowservice.v1 import CountSchedulesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.maintenance import Sweep, Swept
from activities.reconciliation import Reconciler
from activities.sync_schedules import schedule_id, sync_input
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.syncs import Sync
from perdure.errors import NotFoundError
from perdure.ids import BundleHash
from perdure.temporal.names import SearchAttribute, WorkflowType

__all__ = ["ScheduleRepair"]

_PAGE = 1000
_AT_ONCE = 100
_LISTED_EVERY = 12
"""Sweeps of a process; about an hour."""
# Who lists or counts many schedules waits for the server to go through them.
_RPC_TIMEOUT = timedelta(seconds=60)

log = structlog.get_logger(__name__)


class ScheduleRepair:
    """A step of the maintenance. Repeating it does no harm.

    Schedules without a sync need no step: their runs find nothing to do and delete them.

    Args:
        database: Our own data.
        client: Knows which schedules there are.
        reconciler: Makes schedules.
    """

    def __init__(self, database: Database, client: Client, reconciler: Reconciler) -> None:
        self._database = database
        self._client = client
        self._reconciler = reconciler
        self._sweeps = 0

    @activity.defn
    async def restore_schedules(self, _: Sweep) -> Swept:
        """Give each sync of the active bundles the schedule it lacks.

        Schedules are listed only where there are more or less of them than syncs, and now and then:
        listing many costs the server seconds.

        One that was made a moment ago may not be listed yet: it is found to be there, and stays.
        """
        restored = 0
        self._sweeps += 1
        lists = self._sweeps % _LISTED_EVERY == 0
        for environment in await self._database.environments.all():
            if environment.active_bundle is None:
                continue
            syncs = await self._database.syncs.list(environment.id)
            if lists or await self._count(environment) != len(syncs):
                restored += await self._restore(environment, syncs)
        return Swept(count=restored)

    async def _count(self, environment: Environment) -> int | None:
        """Return how many schedules of syncs there are, None where the server does not count.

        Where as many are there as there are syncs, none is lacking, but for one whose place a
        schedule takes that has no sync any more. That one deletes itself when it is due, unless it
        is paused.
        """
        request = CountSchedulesRequest(
            namespace=self._client.namespace, query=_of_syncs(environment)
        )
        try:
            answer = await self._client.workflow_service.count_schedules(
                request, timeout=_RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status is RPCStatusCode.UNIMPLEMENTED:
                return None
            raise
        return answer.count

    async def _known(self, environment: Environment) -> set[str]:
        listed = await self._client.list_schedules(
            _of_syncs(environment), page_size=_PAGE, rpc_timeout=_RPC_TIMEOUT
        )
        return {schedule.id async for schedule in listed}

    async def _restore(self, environment: Environment, syncs: Sequence[Sync]) -> int:
        known = await self._known(environment)
        lacking = [
            sync for sync in syncs if schedule_id(sync_input(environment.name, sync)) not in known
        ]
        connections = await self._connections(lacking)
        restored = 0
        for start in range(0, len(connections), _AT_ONCE):
            restored += await self._ensured(environment, connections[start : start + _AT_ONCE])
        if restored:
            log.warning("schedules_restored", environment=environment.name, count=restored)
        return restored

    async def _ensured(self, environment: Environment, connections: list[Connection]) -> int:
        """Bring connections into line with the active bundle, which is so also afterwards.

        A deploy in the middle may have gone through them already. What was scheduled here for the
        bundle before is not to outlive it.
        """
        done: BundleHash | None = None
        made: list[Sync] = []
        restored = 0
        while True:
            found = await self._database.environments.by_id(environment.id)
            bundle = found.active_bundle
            if bundle is None or bundle == done:
                return restored
            await self._reconciler.remove(environment.name, made, bundle)
            ensured = await self._reconciler.ensure(environment.name, connections, bundle)
            made = [sync for sync, _ in ensured]
            restored += sum(is_new for _, is_new in ensured)
            done = bundle

    async def _connections(self, lacking: Iterable[Sync]) -> list[Connection]:
        found = []
        for key in dict.fromkeys(sync.connection_key for sync in lacking):
            try:
                found.append(await self._database.connections.by_key(key))
            except NotFoundError:
                continue  # deleted a moment ago
        return found


def _of_syncs(environment: Environment) -> str:
    kind, name = SearchAttribute.KIND.name, SearchAttribute.ENVIRONMENT.name
    return f"{kind} = '{WorkflowType.SYNC}' AND {name} = '{environment.name}'"
