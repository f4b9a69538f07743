"""What scripts do to syncs, the same as clients do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from temporalio import activity

from activities.bundles import BundleCache
from activities.sync_runs import SyncRuns
from activities.sync_schedules import SyncSchedules
from activities.sync_selection import SyncName, command_each, command_syncs
from perdure.db.database import Database
from perdure.db.resyncs import Restart
from perdure.ids import BASE_VARIANT, EnvironmentId
from perdure.temporal.payloads import Payload, SyncInput

__all__ = ["SyncCommand", "SyncCommandActivities", "SyncRef"]


class SyncRef(Payload):
    """Names a sync."""

    name: str
    variant: str = BASE_VARIANT


class SyncCommand(Payload):
    """Which syncs a command is about.

    Attributes:
        connection_id: Only those of this connection, of all connections where it is None.
        syncs: Only these; none stands for all.
        restart: How runs that are triggered start over, None where they go on.
    """

    environment_id: int
    integration: str
    connection_id: str | None
    syncs: tuple[SyncRef, ...]
    restart: Restart | None = None


class SyncCommandActivities:
    """Steps that start runs of syncs, and their schedules.

    A step that is repeated because its answer was lost triggers one more run at the most.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        schedules: Schedules of syncs.
        runs: Starts runs that are due, and has syncs start over.
    """

    def __init__(
        self, database: Database, bundles: BundleCache, schedules: SyncSchedules, runs: SyncRuns
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._schedules = schedules
        self._runs = runs

    @activity.defn
    async def trigger_sync(self, command: SyncCommand) -> None:
        """Run syncs now: after the run that is under way, or instead of it to start over.

        Raises:
            NotFoundError: `unknown_provider_config` or `unknown_connection`.
            InvalidInputError: `unknown_sync` or `no_syncs_found`.
            ConflictError: `sync_not_scheduled`.
        """
        if command.restart is None:
            await self._each(command, self._schedules.trigger)
        else:
            await self._each(command, partial(self._runs.start_over, restart=command.restart))

    @activity.defn
    async def start_sync_schedule(self, command: SyncCommand) -> None:
        """Let paused syncs run by their schedules again, at once where a run is due.

        Raises:
            NotFoundError: As `trigger_sync`; so are the others.
        """
        await self._each(command, self._runs.start)

    async def _each(self, command: SyncCommand, do: Callable[[SyncInput], Awaitable[bool]]) -> None:
        environment = await self._database.environments.by_id(EnvironmentId(command.environment_id))
        selected = await command_syncs(
            self._database,
            self._bundles,
            environment,
            integration=command.integration,
            connection_id=command.connection_id,
            names=[SyncName(sync.name, sync.variant) for sync in command.syncs],
        )
        await command_each(selected, environment, do)
