"""Starts and ends runs of a sync, whatever is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from temporalio.client import Client

from activities.endings import end_workflow
from activities.run_counts import count_end
from activities.sync_schedules import Execution, SyncSchedules
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.resyncs import Restart
from perdure.db.runs import Run, RunStatus
from perdure.ids import ConnectionKey
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import SyncInput

__all__ = ["SyncRuns"]

_LOOKS = 100
_LOOK_SECONDS = 0.05


class SyncRuns:
    """Starts and ends runs. What those that are ended have saved stays.

    Args:
        database: Our own data.
        client: Cancels and terminates.
        schedules: Schedules of syncs.
    """

    def __init__(self, database: Database, client: Client, schedules: SyncSchedules) -> None:
        self._database = database
        self._client = client
        self._schedules = schedules

    async def start(self, sync: SyncInput) -> bool:
        """Let a paused schedule fire again, at once where a run is due.

        It is where one was scheduled meanwhile, where none ever ran, and where the last one was
        cancelled, as by the pause.

        Returns:
            Whether the schedule exists.
        """
        latest = await self._database.runs.latest(
            ConnectionKey(sync.connection_key), sync.sync, sync.variant
        )
        is_due = latest is None or latest.status is RunStatus.CANCELLED
        return await self._schedules.start(
            sync, since=None if latest is None or is_due else latest.started_at
        )

    async def pause(self, sync: SyncInput) -> bool:
        """Stop a schedule from firing, and ask its runs to stop, those that wait as well.

        Returns:
            Whether the schedule exists.
        """
        if not await self._schedules.pause(sync):
            return False
        asked: set[Execution] = set()
        for _ in range(_LOOKS):
            status = await self._schedules.status(sync)
            if status is None:
                break
            # When two runs start in one second, the schedule forgets the later one as the first
            # ends. One that began a moment ago has no row yet.
            found = {Execution(run.workflow_id, run.id) for run in await self._running(sync)}
            found |= {*status.running, *status.latest}
            await self._schedules.cancel(found - asked)
            asked |= found
            if not status.buffered:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    async def start_over(self, sync: SyncInput, restart: Restart) -> bool:
        """End what is under way, and start a run that does not go on from where the sync stands.

        Returns:
            Whether the schedule exists; nothing has been done where it does not.
        """
        if await self._schedules.status(sync) is None:
            return False
        await self.end(sync, "a user had its sync start over")
        await self._database.resyncs.request(
            ConnectionKey(sync.connection_key), sync.sync, restart, sync.variant
        )
        return await self._schedules.trigger(sync)

    async def end(self, sync: SyncInput, reason: str) -> None:
        """End the runs of a sync that are under way or wait their turn.

        Args:
            sync: Which sync.
            reason: Why, for those that have to be terminated because they do not stop.
        """
        ended: set[Execution] = set()
        for _ in range(_LOOKS):
            status = await self._schedules.status(sync)
            rows = await self._running(sync)
            found = {Execution(run.workflow_id, run.id) for run in rows}
            found |= set(status.running if status else ())
            await self._end_all(found - ended, reason)
            await self._finish(rows)
            ended |= found
            # The schedule hears of an end a moment later, and starts then what waited.
            if status is None or (not status.buffered and set(status.running) <= ended):
                break
            await asyncio.sleep(_LOOK_SECONDS)

    async def remove(self, sync: SyncInput, reason: str) -> None:
        """Delete the schedule of a sync, then end its runs; those that start now find nothing.

        Those that handle a webhook are ended, too: what they save is about to be erased.
        """
        status = await self._schedules.status(sync)
        await self._schedules.forget(sync)
        await self._end_all(status.running if status else (), reason)
        await self.end(sync, reason)
        handlers = await self._running(sync, WorkflowType.WEBHOOK)
        await self._end_all((Execution(run.workflow_id, run.id) for run in handlers), reason)
        await self._finish(handlers)

    async def end_of_connection(self, key: ConnectionKey, reason: str) -> None:
        """End every run that is under way for a connection, of whatever kind.

        Args:
            key: Which connection.
            reason: Why, for those that have to be terminated because they do not stop.
        """
        rows = await self._database.runs.running_of(key)
        await self._end_all((Execution(run.workflow_id, run.id) for run in rows), reason)
        await self._finish(rows)
        for run in rows:
            await self._database.locks.release_all(run.id)

    async def _running(self, sync: SyncInput, kind: WorkflowType = WorkflowType.SYNC) -> list[Run]:
        return list(
            await self._database.runs.running(
                ConnectionKey(sync.connection_key), kind, sync.sync, sync.variant
            )
        )

    async def _end_all(self, executions: Iterable[Execution], reason: str) -> None:
        await asyncio.gather(*(self._end_one(execution, reason) for execution in executions))

    async def _end_one(self, execution: Execution, reason: str) -> None:
        await end_workflow(
            self._client, execution.workflow_id, reason, first_run_id=execution.run_id
        )

    async def _finish(self, rows: Iterable[Run]) -> None:
        """Note the end of runs that could not say so themselves; the end that one told counts."""
        for run in rows:
            count_end(
                await self._database.runs.finish(run.id, RunStatus.CANCELLED, finished_at=utcnow())
            )
